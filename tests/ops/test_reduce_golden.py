"""reduce: TreeHEM's numbers are those of the original authors' code, wherever that is right.

The original stops opening nodes one group early: asked for n components it gives n - T and pads with absent
ones of covariance f I, where f is the mixture's mean variance. So `reduce(m, n - T, per_node=T)` is its result.
Its step from n - T - 1 components to n - T + 1 is the one difference here: `reduce` gives exactly what it is
asked for, and equals the original's n - T + 1 components when asked for those.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from gmengine.mixture import Mixture
from gmengine.ops.reduce import apply, plan, reduce
from gmengine.testing import assert_close, assert_mixtures_close, pull_back

DATA = Path(__file__).parents[1] / "data"
CASES = [(k, N, n, T) for k in (2, 3) for N in (40, 64, 320) for n in (8, 16) for T in (2, 4)]
ONE_TOO_MANY = {(2, 40, 16, 2): [(1, 1)], (3, 40, 16, 2): [(0, 0), (0, 2)]}


def unpack(packed, dim):
    """Return rows (weight, position, covariance) as a Mixture."""
    packed = packed.astype(np.float64)
    covariances = packed[..., 1 + dim :].reshape(*packed.shape[:-1], dim, dim)
    return Mixture(packed[..., 0], packed[..., 1 : 1 + dim], covariances)


def golden(dim):
    with np.load(DATA / f"treehem_k{dim}_f64.npz") as file:
        return dict(file)


def first(m, n):
    """Return the first n components."""
    return Mixture(*(a[:n] for a in m.arrays))


@pytest.mark.parametrize(("dim", "N", "n", "T"), CASES)
def test_the_original_s_live_components_are_matched_in_order(dim, N, n, T):
    data = golden(dim)
    m, want = unpack(data[f"N{N}_mixture"], dim), unpack(data[f"N{N}_n{n}_T{T}_out"], dim)
    live = np.count_nonzero(want.weights, axis=-1)
    exceptions = ONE_TOO_MANY.get((dim, N, n, T), [])
    for at in np.ndindex(2, 3):
        number = n - T + (at in exceptions)
        assert live[at] == number
        got = reduce(m[at], number, per_node=T)
        assert_mixtures_close("golden", got, first(want[at], number))


@pytest.mark.parametrize(("dim", "N", "n", "T"), CASES)
def test_the_original_s_gradients_are_matched(dim, N, n, T):
    data = golden(dim)
    m, cotangent = unpack(data[f"N{N}_mixture"], dim), unpack(data[f"N{N}_n{n}_cotangent"], dim)
    want = unpack(data[f"N{N}_n{n}_T{T}_grad"], dim)
    exceptions = ONE_TOO_MANY.get((dim, N, n, T), [])
    for at in np.ndindex(want.batch):
        number = n - T + (at in exceptions)
        shrink = partial(reduce, n=number, per_node=T)
        _, (got,) = pull_back(shrink, m[at], cotangent=first(cotangent[at], number))
        # The original's padding has the covariance f I with f = mean_i tr C_i / K, through which cotangents of
        # padding reach every covariance; here padding is a constant.
        padding = np.trace(cotangent[at].covariances[number:], axis1=-2, axis2=-1).sum()
        g_cov = got.covariances + padding / (N * dim) * np.eye(dim)
        assert_mixtures_close("golden", Mixture(got.weights, got.means, g_cov), want[at])


@pytest.mark.parametrize(("dim", "at"), [(2, (1, 1)), (3, (0, 0)), (3, (0, 2))])
def test_where_the_original_overshoots_its_number_one_node_is_merged_further(dim, at):
    """From 13 components, 14 wanted, it opens a node of 2 into 4; here that node becomes 3."""
    m = unpack(golden(dim)["N40_mixture"], dim)[at]
    fourteen, fifteen = reduce(m, 14), reduce(m, 15)
    held = plan(m, 14)
    sizes = np.diff(held.offsets[0])
    (merged,) = np.flatnonzero(sizes == 3)
    assert set(sizes.tolist()) <= {0, 1, 2, 3}
    start = held.offsets[0, merged]
    others = np.delete(np.arange(14), np.arange(start, start + 3))
    for a, b in zip(fourteen.arrays, fifteen.arrays, strict=True):
        assert np.all((a[others][:, None] == b[None]).reshape(11, 15, -1).all(axis=-1).any(axis=-1))
    assert_close("moments", fourteen.weights.sum(), fifteen.weights.sum())


@pytest.mark.parametrize("T", [2, 4])
@pytest.mark.parametrize("dim", [2, 3])
def test_the_original_s_tree_and_representatives_are_matched(dim, T):
    data = golden(dim)
    m = unpack(data["N40_mixture"], dim)
    for at in np.ndindex(2, 3):
        held = plan(m[at], 16, per_node=T)
        nodes, chosen = data["N40_nodes"][at], data[f"N40_T{T}_initial_indices"][at]
        np.testing.assert_array_equal(held.order[0], nodes[39:, 3])
        theirs = {leaf_range(v, nodes[:, 1:3], 39): v for v in range(39)}
        ours = {leaf_range(v, held.children[0], None): v for v in range(39)}
        assert ours.keys() == theirs.keys()
        for node in fitted_below_selected(held):
            key = leaf_range(node, held.children[0], None)
            np.testing.assert_array_equal(held.representatives[0, node, :T], chosen[theirs[key]])


def leaf_range(v, children, first_leaf):
    """Return (first, last) leaf under inner node v; leaves are ~p, or first_leaf + p."""
    ends = []
    for side in (0, 1):
        c = int(children[v, side])
        while c >= 0 and (first_leaf is None or c < first_leaf):
            c = int(children[c, side])
        ends.append(~c if first_leaf is None else c - first_leaf)
    return tuple(ends)


def fitted_below_selected(held):
    """Return the inner nodes below the selected ones that hold fewer components than they have leaves."""
    T = held.representatives.shape[-1] // 2
    found = []
    for v, count in zip(held.selected[0], np.diff(held.offsets[0]), strict=True):
        if count and v >= 0:
            below = np.arange(v + 1, v + held.leaves[0, v] - 1)
            found += [int(u) for u in below if held.leaves[0, u] > T]
            found += [int(v)] if held.leaves[0, v] > T == count else []
    assert found
    return found


def test_applying_a_plan_gives_the_same_numbers():
    data = golden(2)
    m = unpack(data["N320_mixture"], 2)
    assert_mixtures_close("golden", apply(m, plan(m, 14)), first_of_all(data["N320_n16_T2_out"], 14))


def first_of_all(packed, n):
    return unpack(packed[..., :n, :], 2)
