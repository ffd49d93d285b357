"""em of gmengine.cuda, run on the CPU, beside its twin."""

import numpy as np
import pytest
from twins import agree, compare, mixtures, on_cpu, on_gpu

from gmengine.cpu import em as twin
from gmengine.deferred import deferred_checks
from gmengine.errors import ArgumentError, NonFiniteError, NotPositiveDefinite

DTYPES = ["float32", "float64"]
SIZES = [(3, 5), (1, 2), (2, 33), (2, 64), (1, 65), (1, 130), (0, 4)]
"""(M, N) that cross the edges of warps, words, tiles and blocks; and no mixture at all."""


def numbers(N):
    """Return some numbers of components to reduce N to."""
    return sorted({2, N // 3, N - 1} & set(range(2, N)))


def with_equals(M, N, dtype, rng):
    """Weights of few sizes, of either sign, that differ by rounding where they are equal; and zeros."""
    weights = np.round(2 * rng.normal(size=(M, N))) / 2
    return (weights * (1 + 8 * np.finfo(dtype).eps * rng.random((M, N)))).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("equals", [True, False])
@pytest.mark.parametrize("shape", [*SIZES, (1, 400)])
def test_the_plan_of_em_is_that_of_the_cpu_also_where_weights_tie(cuda, shape, equals, dtype):
    rng = np.random.default_rng(shape[1])
    weights = with_equals(*shape, dtype, rng) if equals else mixtures(*shape, 1, dtype, rng)[0]
    for n in numbers(shape[1]):
        agree("exact", cuda("em").plan(on_gpu(weights), n), twin.plan(weights, n), size=1)
    agree("exact", cuda("em").plan(on_gpu(abs(weights)), 1), twin.plan(abs(weights), 1), size=1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_sign_that_would_have_no_parent_gets_one_of_the_cpu_s(cuda, dtype):
    weights = np.array([[1, 9, 8, -1, 0, -1, 7], [-1, -9, -8, 1, 0, 1, -7], [1, 1, 1, -1, -2, -3, 0]], dtype)
    for n in (2, 3, 4, 6):
        agree("exact", cuda("em").plan(on_gpu(weights), n), twin.plan(weights, n), size=1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dim", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", SIZES)
def test_em_and_its_gradients_agree_with_the_cpu(cuda, shape, dim, dtype):
    rng = np.random.default_rng(dim)
    inputs = mixtures(*shape, dim, dtype, rng)
    for n in numbers(shape[1]):
        compare(cuda("em"), (*inputs, twin.plan(inputs[0], n)), rng, size=shape[1])


@pytest.mark.parametrize("dim", [1, 2, 3, 4])
def test_one_component_of_all_agrees_with_the_cpu(cuda, dim):
    rng = np.random.default_rng(dim)
    weights, *others = mixtures(2, 70, dim, "float64", rng)
    compare(cuda("em"), (-abs(weights), *others, twin.plan(-abs(weights), 1)), rng, size=70)


@pytest.mark.parametrize(("N", "n"), [(600, 3), (600, 200), (330, 329)])
def test_many_components_in_slices_and_many_parents_agree_with_the_cpu(cuda, N, n):
    rng = np.random.default_rng(n)
    inputs = mixtures(1, N, 2, "float64", rng, absent=0.0)
    assert cuda("_em_levels").slices_of(1, N, n) > 1
    compare(cuda("em"), (*inputs, twin.plan(inputs[0], n)), rng, size=N)


def test_em_in_many_dimensions_agrees_with_the_cpu(cuda):
    rng = np.random.default_rng(6)
    inputs = mixtures(1, 20, 6, "float64", rng)
    compare(cuda("em"), (*inputs, twin.plan(inputs[0], 5)), rng, size=20)


def test_wider_blocks_than_small_mixtures_need_agree_with_the_cpu(cuda, monkeypatch):
    rng = np.random.default_rng(0)
    inputs = mixtures(2, 150, 2, "float64", rng)
    monkeypatch.setattr(cuda("_em_levels"), "threads_for", lambda length: 512)
    held = twin.plan(inputs[0], 40)
    agree("exact", cuda("em").plan(on_gpu(inputs[0]), 40), held, size=1)
    compare(cuda("em"), (*inputs, held), rng, size=150)


def test_the_plan_of_em_may_meet_other_values_of_the_same_signs(cuda):
    rng = np.random.default_rng(1)
    inputs = mixtures(2, 40, 2, "float64", rng)
    held = cuda("em").plan(on_gpu(inputs[0]), 7)
    weights, means, covariances = mixtures(2, 40, 2, "float64", rng, absent=0.0)
    compare(cuda("em"), (abs(weights) * np.sign(inputs[0]), means, covariances, on_cpu(held)), rng, size=40)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_representative_without_mass_becomes_absent_as_on_the_cpu(cuda, dtype):
    tiny = float(np.finfo(dtype).tiny)
    weights = np.array([[1, 4 * tiny, 1, 3 * tiny, -1, 2 * tiny], [tiny, tiny, 1, 1, -tiny, -1]], dtype)
    _, means, covariances = mixtures(2, 6, 2, dtype, np.random.default_rng(0), absent=0.0)
    means *= 100
    for n in (4, 5):
        held = twin.plan(weights, n)
        want, of_cpu = twin.forward(weights, means, covariances, held)
        got, of_gpu = cuda("em").forward(*on_gpu((weights, means, covariances, held)))
        agree("solve", got, want, size=6)
        np.testing.assert_array_equal(on_cpu(of_gpu[-1][0])[..., 0] > 0, of_cpu[-1][0][..., 0] > 0)
        np.testing.assert_array_equal(on_cpu(got[0]) == 0, want[0] == 0)


@pytest.mark.parametrize("distance", [1e6, 1e9, 1e12])
def test_what_em_merges_from_afar_stays_positive_definite(cuda, distance):
    rng = np.random.default_rng(2)
    weights, means, covariances = mixtures(1, 40, 3, "float64", rng, absent=0.0)
    inputs = abs(weights), distance * means[..., :1] * np.array([1.0, 0.3, -0.7]), covariances
    for n in (1, 6):
        held = twin.plan(inputs[0], n)
        want, _ = twin.forward(*inputs, held)
        got, _ = cuda("em").forward(*on_gpu((*inputs, held)))
        assert np.linalg.eigvalsh(on_cpu(got[2])).min() > 0
        for g, w in zip(got, want, strict=True):
            agree("solve", g, w, size=40)


def failing(case):
    """Return inputs and the error that both houses answer them with."""
    weights, means, covariances = mixtures(3, 70, 2, "float32", np.random.default_rng(0), absent=0.0)
    held = twin.plan(weights, 9)
    if case == "weight":
        weights[1, 66] = np.nan
        return (weights, means, covariances, held), NonFiniteError, r"component \[1, 66\] has NaN"
    if case == "mean":
        means[1, 66] = np.inf
        return (weights, means, covariances, held), NonFiniteError, r"component \[1, 66\] has NaN"
    if case == "covariance":
        covariances[1, 66] = -np.eye(2)
        covariances[2, 0] = np.nan
        return (weights, means, covariances, held), NotPositiveDefinite, r"component \[1, 66\]"
    if case == "sign":
        weights[1, 66] *= -1
        return (weights, means, covariances, held), ArgumentError, r"component 66 of mixture 1"
    if case == "absent":
        weights[1, 66] = 0
        return (weights, means, covariances, held), ArgumentError, r"component 66 of mixture 1"
    weights[2, 66] = 0
    held = twin.plan(weights, 9)
    weights[2, 66] = 1
    return (weights, means, covariances, held), ArgumentError, r"a component of mixture 2"


@pytest.mark.parametrize("case", ["weight", "mean", "covariance", "sign", "absent", "present"])
def test_what_em_cannot_reduce_is_named_at_once_or_later(cuda, case):
    inputs, error, message = failing(case)
    with pytest.raises(error, match=message):
        twin.forward(*inputs)
    with pytest.raises(error, match=message):
        cuda("em").forward(*on_gpu(inputs))
    finished = []

    def block():
        with deferred_checks():
            finished.append(cuda("em").forward(*on_gpu(inputs)))

    with pytest.raises(error, match=message):
        block()
    assert len(finished) == 1


def test_em_refuses_weights_that_it_cannot_plan_for(cuda):
    weights = np.ones((3, 70), "float32")
    weights[1, 66] = np.inf
    weights[2, 3] = -1
    for house in (twin, cuda("em")):
        with pytest.raises(NonFiniteError, match=r"component \[1, 66\] has NaN or infinity"):
            house.plan(on_gpu(weights) if house is not twin else weights, 2)
    weights[1, 66] = 1
    for house in (twin, cuda("em")):
        with pytest.raises(ArgumentError, match=r"n >= 2 for mixture 2, which has components of both signs"):
            house.plan(on_gpu(weights) if house is not twin else weights, 1)


def test_moments_beyond_the_range_are_refused_by_em(cuda):
    weights, means = np.ones((2, 3)), np.zeros((2, 3, 1))
    covariances = np.ones((2, 3, 1, 1))
    means[1, :, 0] = [-1e200, 0, 1e200]
    held = twin.plan(weights, 1)
    with pytest.raises(NonFiniteError, match=r"mixture \[1\] cannot be merged"):
        twin.forward(weights, means, covariances, held)
    with pytest.raises(NonFiniteError, match=r"mixture \[1\] cannot be merged"):
        cuda("em").forward(*on_gpu((weights, means, covariances, held)))
