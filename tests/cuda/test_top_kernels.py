"""top of gmengine.cuda, run on the CPU, beside its twin."""

import numpy as np
import pytest
from twins import SHAPES, agree, cotangent, mixtures, on_cpu, on_gpu

from gmengine.cpu import top as twin

DTYPES = ["float32", "float64"]


def with_ties(M, N, K, dtype, rng):
    """Mixtures whose weights have few sizes, both signs, and zeros of both signs."""
    weights, means, covariances = mixtures(M, N, K, dtype, rng)
    weights = np.round(2 * weights) / 2
    weights[:, ::5] *= -1.0
    return weights, means, covariances


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize("shape", [*SHAPES, (1, 300)])
def test_components_rank_as_on_the_cpu_whatever_ties(cuda, shape, ties, dtype):
    rng = np.random.default_rng(shape[1])
    weights = (with_ties if ties else mixtures)(*shape, 1, dtype, rng)[0]
    for n in sorted({0, 1, shape[1] // 3, shape[1]} & set(range(shape[1] + 1))):
        agree("exact", cuda("top").plan(on_gpu(weights), n), twin.plan(weights, n), size=1)


def test_weights_that_are_no_numbers_rank_last_and_leave_no_hole(cuda):
    rng = np.random.default_rng(0)
    weights = with_ties(2, 150, 1, "float32", rng)[0]
    weights[:, [3, 77, 140]] = np.nan
    weights[1, [5, 6]] = -np.inf, np.inf
    agree("exact", cuda("top").plan(on_gpu(weights), 150), twin.plan(weights, 150), size=1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dim", [1, 2, 3, 4, 6])
@pytest.mark.parametrize(
    ("shape", "n"), [((3, 5), 2), ((1, 1), 1), ((2, 70), 33), ((2, 3), 0), ((0, 4), 2), ((2, 6), 6)]
)
def test_top_and_its_gradients_have_the_bits_of_the_cpu(cuda, shape, n, dim, dtype):
    rng = np.random.default_rng(dim)
    inputs = mixtures(*shape, dim, dtype, rng, absent=0.4)
    indices = twin.plan(inputs[0], n)
    want, of_cpu = twin.forward(*inputs, indices)
    got, of_gpu = cuda("top").forward(*on_gpu((*inputs, indices)))
    agree("exact", got, want, size=1)
    g = cotangent(want, rng)
    for needs in [(True, True, True), (True, False, False), (False, True, False), (False, False, True)]:
        agree("exact", cuda("top").vjp(of_gpu, *on_gpu(g), needs), twin.vjp(of_cpu, *g, needs), size=1)


def test_a_plan_may_come_from_the_cpu_and_meet_other_weights(cuda):
    rng = np.random.default_rng(4)
    inputs = mixtures(2, 40, 2, "float32", rng, absent=0.0)
    indices = twin.plan(inputs[0], 12)
    inputs[0][0, indices[0, :3]] = 0.0
    want, of_cpu = twin.forward(*inputs, indices)
    got, of_gpu = cuda("top").forward(*on_gpu(inputs), indices)
    agree("exact", got, want, size=1)
    g = cotangent(want, rng)
    grads = cuda("top").vjp(of_gpu, *on_gpu(g), (True,) * 3)
    agree("exact", grads, twin.vjp(of_cpu, *g, (True,) * 3), size=1)
    assert not on_cpu(grads)[0][0, indices[0, :3]].any()
