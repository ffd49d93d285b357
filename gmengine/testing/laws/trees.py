"""Checks of the tree that a TreeHEM plan holds: its invariants, and that it is the one that sorting gives."""

from __future__ import annotations

from typing import Any

import numpy as np

from gmengine.mixture import Mixture
from gmengine.ops.reduce import TreePlan
from gmengine.testing import tree_oracle
from gmengine.testing.assertions import asnumpy

Nested = Any  # an index, or a pair of Nested


def tree_is_sound(m: Mixture, plan: TreePlan) -> None:
    """Every leaf is reached once, and the nodes are the ranges of a radix tree over the sorted keys.

    That is: the order lists all present components, positive before negative ones; a node is a contiguous range
    of leaves, the union of those of its children, and counts them; its children's keys agree in more leading
    bits than its own; a subtree of L leaves is numbered ``v, ..., v + L - 2``.
    """
    for b, one, held in _each(m, plan):
        keys, trees = _sorted_keys(one, plan), _roots(held)
        present = np.flatnonzero(one.weights)
        order = held["order"]
        count = len(present)
        assert sorted(order[:count].tolist()) == present.tolist(), f"mixture {b}: the order loses components"
        assert (order[count:] == -1).all(), f"mixture {b}: absent components have places in the order"
        signs = np.sign(one.weights[order[:count]])
        assert (np.diff(signs) <= 0).all(), f"mixture {b}: negative components stand before positive ones"
        end = 0
        for root in trees:
            start, end = end, _check_node(root, end, keys, held, -1)
            assert end > start
        assert end == count, f"mixture {b}: {end} leaves are reached, {count} components are present"


def tree_is_that_of_sorting(m: Mixture, plan: TreePlan) -> None:
    """The tree is the one that splitting the sorted keys at their highest differing bit gives, recursively."""
    for b, one, held in _each(m, plan):
        keys = _sorted_keys(one, plan)
        positive = int(held["positive"])
        want = [_split(part) for part in (keys[:positive], keys[positive:]) if part]
        got = [_nested(root, held) for root in _roots(held)]
        assert got == want, f"mixture {b}: the tree is {got}, sorting gives {want}"


def selection_covers_every_leaf_once(m: Mixture, plan: TreePlan) -> None:
    """The selected nodes share out all leaves, and give n components, or one for each if there are fewer."""
    for b, one, held in _each(m, plan):
        count = np.count_nonzero(one.weights)
        sizes = np.diff(held["offsets"])
        chosen = [int(v) for v, size in zip(held["selected"], sizes, strict=True) if size > 0]
        covered = sorted(leaf for v in chosen for leaf in _flat(_nested(v, held)))
        want = sorted(held["order"][:count].tolist())
        assert covered == want, f"mixture {b}: the selected nodes hold {covered} instead of {want}"
        total = min(plan.n, count)
        assert sizes.sum() == total, f"mixture {b}: {sizes.sum()} components instead of {total}"


def _each(m: Mixture, plan: TreePlan) -> Any:
    """Yield index, mixture and plan of every mixture of the batch."""
    names = ("order", "positive", "children", "leaves", "selected", "offsets")
    flat = asnumpy(m).reshape((int(np.prod(m.batch)),))
    for b in range(flat.batch[0]):
        yield b, flat[b], {name: asnumpy(getattr(plan, name))[b] for name in names}


def _sorted_keys(m: Mixture, plan: TreePlan) -> list[int]:
    """Return (sign, Morton code, index) of the present components as sorted integers of 64 bits."""
    present = np.flatnonzero(m.weights)
    if not len(present):
        return []
    eps = float(np.finfo(m.dtype).eps)
    means = m.means[present]
    centre = (means.min(axis=0) / 2 + means.max(axis=0) / 2).astype(np.float64)
    codes = tree_oracle.morton(means.astype(np.float64) - centre, eps)
    negative = m.weights[present] < 0
    rows = zip(negative, codes, present, strict=True)
    return sorted(int(s) << 63 | code << 32 | int(i) for s, code, i in rows)


def _roots(held: Any) -> list[int]:
    """Return the roots of the positive and of the negative tree, if there are such components."""
    positive, count = int(held["positive"]), int(np.count_nonzero(held["order"] >= 0))
    roots = []
    if positive:
        roots.append(0 if positive > 1 else ~0)
    if count > positive:
        roots.append(max(positive - 1, 0) if count - positive > 1 else ~positive)
    return roots


def _check_node(v: int, start: int, keys: list[int], held: Any, shared: int) -> int:
    """Check the subtree whose first leaf should be `start`; return the position after its last leaf.

    `shared` is the number of leading bits in which all keys of the parent agree.
    """
    if v < 0:
        assert ~v == start, f"leaf {~v} stands where leaf {start} should"
        return start + 1
    left, right = (int(c) for c in held["children"][v])
    end = start + int(held["leaves"][v])
    common = 64 - (keys[start] ^ keys[end - 1]).bit_length()
    assert common > shared, f"node {v} shares {common} bits, its parent {shared}"
    middle = _check_node(left, start, keys, held, common)
    assert left < 0 or left == v + 1, f"the left child of node {v} is {left}"
    assert right < 0 or right == v + middle - start, f"the right child of node {v} is {right}"
    assert _check_node(right, middle, keys, held, common) == end, (
        f"node {v} does not hold {end - start} leaves"
    )
    return end


def _split(keys: list[int]) -> Nested:
    if len(keys) == 1:
        return keys[0] & 0xFFFFFFFF
    bit = (keys[0] ^ keys[-1]).bit_length() - 1
    cut = next(i for i, key in enumerate(keys) if key >> bit & 1)
    return _split(keys[:cut]), _split(keys[cut:])


def _nested(v: int, held: Any) -> Nested:
    if v < 0:
        return int(held["order"][~v])
    left, right = (int(c) for c in held["children"][v])
    return _nested(left, held), _nested(right, held)


def _flat(tree: Nested) -> list[int]:
    return [tree] if isinstance(tree, int) else [leaf for child in tree for leaf in _flat(child)]
