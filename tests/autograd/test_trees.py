"""Structures: order of the leaves, kinds of nodes, paths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gmengine.autograd import leaves, tree_map
from gmengine.autograd.trees import walk


class Point(NamedTuple):
    x: Any
    y: Any


@dataclass(frozen=True)
class Box:
    low: Any
    high: Any


TREE = {"b": [1, (2, 3)], "a": Point(4, Box(5, None)), "empty": {}, "nothing": None}


def test_leaves_come_in_the_order_of_insertion_and_declaration():
    assert leaves(TREE) == [1, 2, 3, 4, 5]


def test_paths_are_what_one_would_type():
    assert [path for path, _ in walk(TREE)] == [
        "['b'][0]",
        "['b'][1][0]",
        "['b'][1][1]",
        "['a'].x",
        "['a'].y.low",
    ]
    for path, leaf in walk(TREE):
        assert eval(f"TREE{path}") == leaf


def test_mapping_keeps_the_structure_and_calls_in_order():
    seen = []

    def double(leaf):
        seen.append(leaf)
        return 2 * leaf

    assert tree_map(double, TREE) == {
        "b": [2, (4, 6)],
        "a": Point(8, Box(10, None)),
        "empty": {},
        "nothing": None,
    }
    assert seen == leaves(TREE)


def test_a_leaf_is_a_tree():
    x = np.ones(2)
    assert leaves(x)[0] is x
    assert tree_map(lambda a: a, x) is x
    assert leaves("text") == ["text"]
    assert leaves(Box) == [Box]
