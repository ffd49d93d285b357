"""hem of gmengine.cuda, run on the CPU, beside its twin."""

import numpy as np
import pytest
from twins import agree, compare, mixtures, on_cpu, on_gpu

from gmengine.cpu import hem as twin
from gmengine.deferred import deferred_checks
from gmengine.errors import ArgumentError, NonFiniteError, NotPositiveDefinite

DTYPES = ["float32", "float64"]
SIZES = [(3, 5), (1, 2), (2, 33), (2, 64), (1, 65), (1, 130), (0, 4)]
"""(M, N) that cross the edges of warps, words, tiles and blocks; and no mixture at all."""


def numbers(N):
    """Return some numbers of components to reduce N to."""
    return sorted({2, N // 3, N - 1} & set(range(2, N)))


def same_plan(cuda, inputs, n):
    """Assert that both houses plan the same, and fit the same on the way; return the plan."""
    want, (result, fits) = twin.plan_and_forward(*inputs, n)
    got, (got_result, got_fits) = cuda("hem").plan_and_forward(*on_gpu(inputs), n)
    agree("exact", got, want, size=1)
    size, dtype = inputs[0].shape[1], inputs[0].dtype
    agree("solve", got_result, result, size=size)
    kept = want[0][1][:, 1] <= n  # mixtures that keep their components write them in another order
    for g, w in zip(got_fits, fits, strict=True):
        agree("solve", on_cpu(g)[~kept].astype(dtype), w[~kept].astype(dtype), size=size)
    return want


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dim", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", SIZES)
def test_hem_plans_and_pulls_as_the_cpu_does(cuda, shape, dim, dtype):
    rng = np.random.default_rng(dim)
    inputs = mixtures(*shape, dim, dtype, rng)
    for n in numbers(shape[1]):
        compare(cuda("hem"), (*inputs, same_plan(cuda, inputs, n)), rng, size=shape[1])


@pytest.mark.parametrize("dim", [1, 2, 3, 4])
def test_hem_to_one_component_agrees_with_the_cpu(cuda, dim):
    rng = np.random.default_rng(dim)
    weights, *others = mixtures(2, 70, dim, "float64", rng)
    inputs = -abs(weights), *others
    compare(cuda("hem"), (*inputs, same_plan(cuda, inputs, 1)), rng, size=70)


def on_a_lattice(dtype, signed, scale, dim=2):
    """Equal components whose means, masses and divergences tie: neighbours are at the bound of the divergence."""
    x = scale * np.stack(np.meshgrid(*[2 * np.arange(9.0)] * dim), axis=-1).reshape(1, -1, dim)
    weights = np.full((1, x.shape[1]), 0.1)
    if signed:
        weights[:, ::3] *= -1
    covariances = np.broadcast_to(scale**2 * np.eye(dim), (1, x.shape[1], dim, dim)).copy()
    return weights.astype(dtype), x.astype(dtype), covariances.astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("scale", [1.0, 0.7, 1 / 3])
@pytest.mark.parametrize("n", [4, 27, 60])
def test_hem_breaks_ties_of_a_lattice_as_the_cpu_does(cuda, n, scale, signed, dtype):
    inputs = on_a_lattice(dtype, signed, scale)
    held, _ = twin.plan_and_forward(*inputs, n)
    got = cuda("hem").plan(*on_gpu(inputs), n)
    agree("exact", got[0], held[0], size=1)  # the levels above start from sums, which tie no more
    masks = np.unpackbits(held[0][4].view(np.uint8), axis=-1).sum()
    assert masks > inputs[0].shape[1]  # some components are at the bound of several parents


@pytest.mark.parametrize("dtype", DTYPES)
def test_hem_breaks_ties_of_copies_as_the_cpu_does(cuda, dtype):
    weights, means, covariances = (
        np.repeat(a, 4, axis=1) for a in mixtures(2, 20, 3, dtype, np.random.default_rng(3))
    )
    weights = (np.sign(weights) / 3).astype(dtype)
    for n in (5, 30, 60):
        same_plan(cuda, (weights, means, covariances), n)


def test_hem_shares_parents_between_unequal_signs_as_the_cpu_does(cuda):
    rng = np.random.default_rng(5)
    _, means, covariances = mixtures(5, 9, 2, "float64", rng, absent=0.0)
    weights = np.array(
        [
            [1, 1, 1, 1, -1, -1, 1, 1, 1.0],
            [1, 1, 1, 1, -1e-9, 1, 1, 1, 1],
            [-1, -1, -1, -1, 1e-9, -1, -1, -1, 0],
            [1e9, 1, -1, -1, -1, -1, -1, 0, 0],
            [1000, 100, 10, 1, 0.1, 0, 0, 0, 0],
        ]
    )
    for n in range(2, 9):
        same_plan(cuda, (weights, means, covariances), n)


@pytest.mark.parametrize(("N", "n"), [(600, 3), (600, 260)])
def test_many_components_in_slices_agree_with_hem_of_the_cpu(cuda, N, n):
    rng = np.random.default_rng(n)
    inputs = mixtures(1, N, 2, "float64", rng, absent=0.0)
    compare(cuda("hem"), (*inputs, same_plan(cuda, inputs, n)), rng, size=N)


def test_keys_too_many_for_shared_memory_are_sorted_alike(cuda, monkeypatch):
    inputs = mixtures(3, 150, 2, "float32", np.random.default_rng(0))
    before = cuda("hem").plan(*on_gpu(inputs), 40)
    monkeypatch.setattr(cuda("hem"), "_IN_SHARED", 8)
    after = cuda("hem").plan(*on_gpu(inputs), 40)
    agree("exact", after, on_cpu(before), size=1)


def test_wider_blocks_leave_the_plan_of_hem_as_it_is(cuda, monkeypatch):
    inputs = mixtures(2, 150, 2, "float64", np.random.default_rng(0))
    monkeypatch.setattr(cuda("_em_levels"), "threads_for", lambda length: 512)
    same_plan(cuda, inputs, 40)


def test_hem_in_many_dimensions_agrees_with_the_cpu(cuda):
    rng = np.random.default_rng(6)
    inputs = mixtures(1, 20, 6, "float64", rng)
    compare(cuda("hem"), (*inputs, same_plan(cuda, inputs, 5)), rng, size=20)


def test_values_that_planning_has_found_are_the_result_of_hem(cuda):
    inputs = on_gpu(mixtures(2, 50, 2, "float32", np.random.default_rng(0)))
    held, values = cuda("hem").plan_and_forward(*inputs, 6)
    launched = sum(cuda("_launch").launches.values())
    quick, residuals = cuda("hem").forward(*inputs, held, values)
    assert sum(cuda("_launch").launches.values()) == launched
    slow, again = cuda("hem").forward(*inputs, held)
    agree("exact", quick, on_cpu(slow), size=1)
    g = on_cpu(slow)
    grads = [cuda("hem").vjp(r, *on_gpu(g), (True, False, True)) for r in (residuals, again)]
    assert grads[0][1] is None
    agree("exact", grads[0], on_cpu(grads[1]), size=1)


@pytest.mark.parametrize("case", ["weight", "covariance"])
def test_what_hem_cannot_plan_for_is_named_at_once_or_later(cuda, case):
    weights, means, covariances = mixtures(3, 70, 2, "float32", np.random.default_rng(0), absent=0.0)
    if case == "weight":
        weights[1, 66], error = np.nan, NonFiniteError
    else:
        covariances[1, 66], error = -np.eye(2), NotPositiveDefinite
    inputs = weights, means, covariances
    with pytest.raises(error, match=r"component \[1, 66\]"):
        twin.plan_and_forward(*inputs, 9)
    with pytest.raises(error, match=r"component \[1, 66\]"):
        cuda("hem").plan_and_forward(*on_gpu(inputs), 9)
    finished = []

    def block():
        with deferred_checks():
            finished.append(cuda("hem").plan_and_forward(*on_gpu(inputs), 9))

    with pytest.raises(error, match=r"component \[1, 66\]"):
        block()
    assert len(finished) == 1


def test_hem_refuses_signs_for_which_the_plan_was_not_made(cuda):
    weights, means, covariances = mixtures(2, 30, 2, "float64", np.random.default_rng(0), absent=0.0)
    held = twin.plan(weights, means, covariances, 9)
    weights[1, 5] *= -1
    with pytest.raises(ArgumentError, match=r"component 5 of mixture 1"):
        cuda("hem").forward(*on_gpu((weights, means, covariances, held)))
    weights[:, 0], weights[:, 1] = 1, -1
    with pytest.raises(ArgumentError, match=r"n >= 2 for mixture 0"):
        cuda("hem").plan(*on_gpu((weights, means, covariances)), 1)
