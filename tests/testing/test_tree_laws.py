"""The trees of TreeHEM plans: invariants, and the checks of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gmengine.mixture import Mixture
from gmengine.ops.reduce import plan
from gmengine.testing import laws
from gmengine.testing import strategies as gms


def check(m, held):
    laws.tree_is_sound(m, held)
    laws.tree_is_that_of_sorting(m, held)
    laws.selection_covers_every_leaf_once(m, held)


@given(st.data())
def test_every_plan_has_a_sound_tree(data):
    dtype = data.draw(st.sampled_from(["float64", "float32"]))
    m = data.draw(
        gms.mixtures(
            n_components=st.integers(3, 20), dim=gms.dims_of(dtype), dtype=dtype, absent=0.2, degenerate=True
        )
    )
    if m.n_components > 2:
        n = data.draw(st.integers(2, m.n_components - 1))
        check(m, plan(m, n, per_node=data.draw(st.sampled_from([1, 2, 4]))))


def many(n, means):
    weights = np.where(np.arange(n) % 3 == 1, -1.0, 1.0)
    return Mixture(weights, means, np.ones((n, 1, 1)))


@pytest.mark.parametrize("n", [2, 3, 1000, 32767, 40000])
def test_components_at_one_place_are_told_apart_by_their_index(n):
    m = many(n, np.zeros((n, 1)))
    if n > 2:
        check(m, plan(m, 2))


def test_many_components_in_general_position_have_a_sound_tree():
    m = gms.random_mixture(1, (), 5000, 3, absent=0.1)
    check(m, plan(m, 100, per_node=4))


# --- the checks find what is wrong --------------------------------------------------------------------------

M = gms.random_mixture(2, (2,), 12, 2, absent=0.2)
HELD = plan(M, 5)


def changed(name, index, value):
    array = getattr(HELD, name).copy()
    array[index] = value
    return replace(HELD, **{name: array})


def swapped(name, a, b):
    array = getattr(HELD, name).copy()
    array[[a, b]] = array[[b, a]]
    return replace(HELD, **{name: array})


def with_order_of_first(order):
    array = HELD.order.copy()
    array[0] = order
    return replace(HELD, order=array)


def reordered():
    first = HELD.order[0].copy()
    first[[0, 1]] = first[[1, 0]]
    return with_order_of_first(first)


def test_a_plan_as_it_is_made_passes():
    check(M, HELD)


@pytest.mark.parametrize(
    "wrong",
    [
        changed("leaves", (0, 0), HELD.leaves[0, 0] - 1),
        changed("children", (0, 0), HELD.children[0, 0][::-1]),
        changed("positive", 0, HELD.positive[0] - 1),
        changed("order", (0, -1), HELD.order[0, 0]),
        with_order_of_first(HELD.order[0][::-1]),
    ],
    ids=["count", "children", "signs", "twice", "reversed"],
)
def test_a_damaged_tree_is_found(wrong):
    with pytest.raises(AssertionError):
        laws.tree_is_sound(M, wrong)


def test_leaves_in_another_order_than_sorting_gives_are_found():
    with pytest.raises(AssertionError, match="sorting gives"):
        laws.tree_is_that_of_sorting(M, reordered())


def test_a_selection_that_forgets_or_repeats_leaves_is_found():
    for wrong in (
        changed("selected", (0, 0), HELD.selected[0, 1]),
        changed("offsets", (0, slice(2, None)), HELD.offsets[0, 2:] - 1),
        swapped("selected", 0, 1),
    ):
        with pytest.raises(AssertionError):
            laws.selection_covers_every_leaf_once(M, wrong)
