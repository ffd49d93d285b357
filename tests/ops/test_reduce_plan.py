"""reduce: the plan is a well-formed tree with a well-formed selection, and `apply` does what it says."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gmengine.autograd import check_vjp
from gmengine.mixture import Mixture
from gmengine.ops.reduce import apply, plan, reduce
from gmengine.testing import assert_close, laws, pull_back
from gmengine.testing import strategies as gms


@st.composite
def plans(draw):
    """Draw a mixture, a number that is smaller, T, and the plan."""
    m = draw(gms.mixtures(batch=(), n_components=st.integers(3, 40), absent=0.2, degenerate=True))
    assume(m.n_components > 2)
    n = draw(st.integers(2, m.n_components - 1))
    per_node = draw(st.sampled_from([1, 2, 3, 4, 8, 16]))
    return m, n, per_node, plan(m, n, per_node=per_node)


def leaves_below(reference, children):
    if reference < 0:
        return [~reference]
    return [p for c in children[reference] for p in leaves_below(int(c), children)]


def roots(p, present):
    """Return the references of the trees' roots, found as inner nodes and leaves without a parent."""
    inner = max(present - (p.positive[0] > 0) - (present > p.positive[0]), 0)
    everything = [*range(inner), *(~leaf for leaf in range(present))]
    owned = set(p.children[0, :inner].ravel().tolist())
    return [r for r in everything if r not in owned]


# --- the tree -----------------------------------------------------------------------------------------------


@given(plans())
def test_every_present_component_is_one_leaf_and_signs_are_apart(case):
    m, _, _, p = case
    present = int(np.count_nonzero(m.weights))
    order = p.order[0]
    assert sorted(order[:present]) == np.flatnonzero(m.weights).tolist()
    assert np.all(order[present:] == -1)
    assert np.all(m.weights[order[: p.positive[0]]] > 0)
    assert np.all(m.weights[order[p.positive[0] : present]] < 0)
    trees = roots(p, present)
    assert len(trees) == len({*np.sign(m.weights[m.weights != 0])})
    assert sorted(leaf for r in trees for leaf in leaves_below(r, p.children[0])) == list(range(present))
    for r in trees:
        assert len({leaf < p.positive[0] for leaf in leaves_below(r, p.children[0])}) == 1


@given(plans())
def test_a_node_covers_the_contiguous_leaves_of_its_children_and_numbers_are_in_preorder(case):
    m, _, _, p = case
    for root in roots(p, int(np.count_nonzero(m.weights))):
        count = len(leaves_below(root, p.children[0]))
        for v in range(root, root + count - 1) if root >= 0 else ():
            below = leaves_below(v, p.children[0])
            assert below == list(range(below[0], below[-1] + 1))
            assert p.leaves[0, v] == len(below)
            left, right = (int(c) for c in p.children[0, v])
            assert left == (v + 1 if left >= 0 else ~below[0])
            size_of_left = len(leaves_below(left, p.children[0]))
            assert right == (v + size_of_left if right >= 0 else ~below[-1])


def by_sorting(keys):
    """Return the nested tuples of the radix tree over sorted keys: split where the highest bits differ."""
    if len(keys) == 1:
        return keys[0]
    bit = (keys[0] ^ keys[-1]).bit_length() - 1
    cut = next(i for i, key in enumerate(keys) if key >> bit & 1)
    return by_sorting(keys[:cut]), by_sorting(keys[cut:])


def nested(reference, children, keys):
    if reference < 0:
        return keys[~reference]
    return tuple(nested(int(c), children, keys) for c in children[reference])


@pytest.mark.parametrize("dim", [1, 2, 3, 4, 31])
@pytest.mark.parametrize("spread", ["random", "equal", "two places"])
def test_the_tree_is_that_of_a_recursion_over_sorted_codes(dim, spread):
    N = 300 if dim < 31 else 20
    rng = np.random.default_rng(dim)
    means = rng.uniform(-1, 3, (N, dim))
    if spread == "equal":
        means[:] = means[0]
    elif spread == "two places":
        means[:] = means[rng.integers(0, 2, N)]
    m = Mixture(np.ones(N), means, np.broadcast_to(np.eye(dim), (N, dim, dim)).copy())
    p = plan(m, 2)
    bits = 10 if dim <= 3 else max(1, 30 // dim)
    extent = np.ptp(means, axis=0)
    t = (means - means.min(axis=0)) / np.where(extent > 0, extent, 1.0)
    cells = np.minimum(2**bits - 1, np.floor(2**bits * t)).astype(int)[:, :30]
    texts = ["".join(f"{c[a] >> b & 1}" for b in reversed(range(bits)) for a in range(len(c))) for c in cells]
    keys = sorted(int(text, 2) << 32 | i for i, text in enumerate(texts))
    assert p.order[0].tolist() == [key & 0xFFFFFFFF for key in keys]
    assert nested(0, p.children[0], keys) == by_sorting(keys)


def test_more_components_than_16_bits_count_are_planned():
    N = 70_000
    weights = np.where(np.arange(N) % 3 == 0, -1.0, 1.0)
    m = Mixture(weights, np.zeros((N, 1)), np.ones((N, 1, 1)))
    p = plan(m, 9)
    assert sorted(p.order[0]) == list(range(N))
    assert p.leaves[0, 0] == p.positive[0] == np.count_nonzero(weights > 0)
    laws.moments_are_conserved(m, apply(m, p))


# --- the selection ------------------------------------------------------------------------------------------


@given(plans())
def test_selected_nodes_share_out_the_leaves_and_the_number(case):
    m, n, per_node, p = case
    present, counts = int(np.count_nonzero(m.weights)), np.diff(p.offsets[0])
    used = [(int(v), int(c)) for v, c in zip(p.selected[0], counts, strict=True) if c]
    assert p.offsets[0, 0] == 0
    assert p.offsets[0, -1] == min(n, present)
    below = [leaves_below(v, p.children[0]) for v, _ in used]
    assert sorted(leaf for part in below for leaf in part) == list(range(present))
    irregular = 0
    for (v, count), part in zip(used, below, strict=True):
        whole = min(per_node, len(part))
        irregular += count != whole
        assert 1 <= count <= min(2 * per_node - 1, len(part))
        assert count != whole or v < 0 or p.leaves[0, v] == len(part)
    assert irregular <= 1 or n < 2 * per_node


@given(plans())
def test_the_unopened_nodes_are_the_lightest(case):
    """Greedy: an opened node was at least as heavy as every node that is left and could be opened."""
    m, n, per_node, p = case
    present = int(np.count_nonzero(m.weights))
    if present <= n:
        return
    children = p.children[0]

    def mass(v):
        return np.abs(m.weights[p.order[0][leaves_below(v, children)]]).sum()

    left = [int(v) for v, c in zip(p.selected[0], np.diff(p.offsets[0]), strict=True) if c]
    covered = {v for s in left if s >= 0 for v in range(s, s + p.leaves[0, s] - 1)}
    inner = max(present - (p.positive[0] > 0) - (present > p.positive[0]), 0)
    opened = [v for v in range(inner) if v not in covered]
    could = [v for v in left if v >= 0 and p.leaves[0, v] >= per_node]
    if opened and could:
        assert min(map(mass, opened)) >= max(map(mass, could)) * (1 - 1e-4)


# --- choices and their application --------------------------------------------------------------------------


def interpret(m, p):
    """Apply the plan of one mixture with dense linear algebra, node by node."""
    T, dim = p.representatives.shape[-1] // 2, m.dim
    centre = m.means.mean(axis=0)

    def components(reference, count=None):
        if reference < 0:
            i = p.order[0, ~reference]
            return [(abs(m.weights[i]), m.means[i] - centre, m.covariances[i])]
        slots = [g for c in p.children[0, reference] for g in components(int(c))]
        count = min(T, p.leaves[0, reference]) if count is None else count
        return slots if len(slots) == count else fit(reference, slots, count)

    def fit(v, slots, count):
        reps = [slots[i] for i in p.representatives[0, v, :count]]
        total, shares = sum(w for w, _, _ in slots), np.zeros((len(slots), count))
        for i, (w, mu, cov) in enumerate(slots):
            z = np.full(count, -np.inf)
            for s, (rw, rmu, rcov) in enumerate(reps):
                if p.masks[0, v, i] >> s & 1:
                    precision = np.linalg.inv(rcov)
                    log_n = -0.5 * (
                        dim * np.log(2 * np.pi)
                        + np.linalg.slogdet(rcov)[1]
                        + (mu - rmu) @ precision @ (mu - rmu)
                    )
                    z[s] = np.log(rw) + 4 * w / total * (log_n - 0.5 * np.trace(precision @ cov))
            shares[i] = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
        out = []
        for s in range(count):
            rho = shares[:, s] * [w for w, _, _ in slots]
            mean = sum(r * mu for r, (_, mu, _) in zip(rho, slots, strict=True)) / rho.sum()
            second = sum(
                r * (cov + np.outer(mu - mean, mu - mean)) for r, (_, mu, cov) in zip(rho, slots, strict=True)
            )
            out.append((rho.sum(), mean, second / rho.sum()))
        return out

    rows = []
    for v, count in zip(p.selected[0], np.diff(p.offsets[0]), strict=True):
        if count:
            sign = np.sign(m.weights[p.order[0, leaves_below(int(v), p.children[0])[0]]])
            rows += [(sign * w, mu + centre, cov) for w, mu, cov in components(int(v), count)]
    return Mixture(*(np.stack(column) for column in zip(*rows, strict=True)))


@pytest.mark.parametrize(
    ("dim", "per_node"), [(1, 2), (2, 1), (2, 2), (2, 4), (3, 2), (3, 5), (4, 3), (2, 16)]
)
def test_apply_does_what_the_plan_says_whatever_the_values(dim, per_node):
    """The plan's choices are not those that the moved values would lead to, so nothing may choose again."""
    m = gms.random_mixture(1, (), 60, dim, condition=5.0)
    rng = np.random.default_rng(2)
    for n in (2, 5, 2 * per_node + 1, 23, 41):
        p = plan(m, n, per_node=per_node)
        moved = Mixture(
            m.weights * rng.uniform(0.5, 2.0, 60),
            m.means + 0.3 * rng.normal(size=m.means.shape),
            m.covariances * rng.uniform(0.5, 2.0, (60, 1, 1)),
        )
        got, want = apply(moved, p), interpret(moved, p)
        for name in ("weights", "means", "covariances"):
            a, b = getattr(got, name), getattr(want, name)
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10 * np.abs(b).max(), err_msg=name)


@pytest.mark.parametrize(("dim", "per_node"), [(1, 4), (2, 2), (2, 16), (3, 2), (3, 4), (4, 3)])
def test_the_vjp_holds_the_plan_at_values_that_would_plan_otherwise(dim, per_node):
    m = gms.random_mixture(3, (2,), 30, dim, absent=0.1)
    rng = np.random.default_rng(4)
    for n in (2, 3, 2 * per_node + 1, 19):
        p = plan(m, n, per_node=per_node)
        moved = Mixture(m.weights, m.means + 0.2 * rng.normal(size=m.means.shape), m.covariances * 1.5)
        check_vjp(partial(apply, plan=p), moved, rng=5, eps=1e-5)


@given(plans())
def test_masks_let_every_slot_join_an_output_and_representatives_are_distinct(case):
    _, _, per_node, p = case
    for v, count in zip(p.selected[0], np.diff(p.offsets[0]), strict=True):
        if v < 0 or not count:
            continue
        for u in range(v, v + p.leaves[0, v] - 1):
            n_out = count if u == v else min(per_node, p.leaves[0, u])
            below = [p.leaves[0, c] if c >= 0 else 1 for c in p.children[0, u]]
            n_in = sum(min(per_node, size) for size in below)
            if n_in > n_out:
                masks, reps = p.masks[0, u, :n_in], p.representatives[0, u, :n_out]
                assert np.all(masks > 0)
                assert np.all(masks < 2**n_out)
                assert len(set(reps.tolist())) == n_out
                assert np.all(reps < n_in)
                for s, rep in enumerate(reps):
                    assert masks[rep] >> s & 1


def test_components_that_are_not_merged_keep_their_bits():
    m = gms.random_mixture(6, (3,), 20, 3, dtype="float32", absent=0.5)
    got = reduce(m, 19)
    for b in range(3):
        keep = m.weights[b] != 0
        for a, x in zip(got.arrays, m.arrays, strict=True):
            assert_close("exact", a[b, : keep.sum()], x[b][keep])
        assert_close(
            "exact", got.covariances[b, keep.sum() :], np.broadcast_to(np.eye(3), (19 - keep.sum(), 3, 3))
        )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weights_of_extreme_ratio_stay_present_and_finite(dtype):
    limits = np.finfo(dtype)
    m = gms.random_mixture(8, (), 24, 2, dtype=dtype)
    powers = np.random.default_rng(9).uniform(np.log10(limits.tiny) + 1, np.log10(limits.max) - 3, 24)
    m = Mixture((np.sign(m.weights) * 10.0**powers).astype(dtype), m.means, m.covariances)
    for n in (2, 5, 11):
        got = reduce(m, n).check()
        laws.has_exactly(got, n)
        _, (grads,) = pull_back(partial(reduce, n=n), m)
        assert all(np.all(np.isfinite(g)) for g in (grads.means, grads.covariances))


def test_a_plan_is_made_of_integers_and_its_size_is_linear():
    m = gms.random_mixture(7, (2, 2), 500, 2)
    p = plan(m, 40, per_node=4)
    assert (p.n, p.shape) == (40, (2, 2, 500))
    assert all(a.dtype.kind in "iu" for a in p.arrays)
    assert sum(a.nbytes for a in p.arrays) < 4 * 500 * 4 * 20


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_components_in_one_place_are_told_apart_by_index_wherever_the_place_is(dtype):
    def choices(place):
        means = np.concatenate([[[-1.0, -1.0]], np.full((129, 2), place), [[1.0, 1.0]]])
        weights = np.concatenate([[1.0], np.linspace(0.1, 0.3, 129), [1.0]])
        m = Mixture(weights, means, np.broadcast_to(0.1 * np.eye(2), (131, 2, 2))).astype(dtype)
        found = plan(m, 4)
        inside = (found.leaves[0] >= 2) & (found.leaves[0] <= 129)
        return found.representatives[0][inside]

    # at the centre of the box the fits of equal means are exact, elsewhere they are rounded
    np.testing.assert_array_equal(choices((0.3, 0.7)), choices((0.0, 0.0)))
