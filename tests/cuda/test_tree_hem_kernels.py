"""tree_hem of gmengine.cuda, run on the CPU, beside its twin: plans are equal, what they give agrees."""

import numpy as np
import pytest
from twins import agree, cotangent, mixtures, on_cpu, on_gpu

from gmengine.cpu import tree_hem as cpu
from gmengine.testing.strategies import random_mixture

NAMES = ["order", "positive", "children", "leaves", "selected", "offsets", "representatives", "masks"]


def compare_trees(house, inputs, n, per_node, rng):
    """Assert that plan, result and gradients are those of the CPU, and that either plan drives either house."""
    size = inputs[0].shape[1]
    want_plan, want = cpu.plan_and_forward(*inputs, n, per_node)
    plan, got = house.plan_and_forward(*on_gpu(inputs), n, per_node)
    for name, ours, theirs in zip(NAMES, on_cpu(plan), want_plan, strict=True):
        agree("exact", ours, theirs, size=1, name=name)
    agree("solve", got, want, size=size)
    applied, residuals = house.forward(*on_gpu(inputs), on_gpu(want_plan))
    agree("exact", applied, on_cpu(got), size=size, name="with the plan held")
    _, want_residuals = cpu.forward(*inputs, on_cpu(plan))
    g = cotangent(want, rng)
    needs = (True, True, True)
    grads = house.vjp(residuals, *on_gpu(g), needs)
    agree("gradient", grads, cpu.vjp(want_residuals, *g, needs), size=size, name="gradient")
    again = house.vjp(residuals, *on_gpu(g), (True, False, True))
    assert again[1] is None
    for i in (0, 2):
        agree("exact", again[i], on_cpu(grads[i]), size=size, name="second run")
    absent = inputs[0] == 0
    assert all(not np.any(on_cpu(grad)[absent]) for grad in grads)


def of_one_sign(weights, means, covariances):
    return np.abs(weights), means, covariances


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("dim", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", [(2, 2), (3, 5), (1, 33), (2, 80), (1, 129)])
def test_two_per_node_agree_with_the_cpu_for_every_number_of_components(cuda, shape, dim, dtype):
    rng = np.random.default_rng(dim)
    N = shape[1]
    for n in sorted({1, 2, 3, N // 3, N - 1} & set(range(1, N))):
        inputs = mixtures(*shape, dim, dtype, rng)
        inputs = of_one_sign(*inputs) if n == 1 else inputs
        compare_trees(cuda("tree_hem"), inputs, n, 2, rng)


@pytest.mark.parametrize(
    ("per_node", "dim", "dtype"),
    [
        (1, 2, "float32"),
        (1, 3, "float64"),
        (3, 2, "float64"),
        (4, 2, "float64"),
        (4, 3, "float32"),
        (8, 3, "float32"),
        (16, 2, "float64"),
    ],
)
def test_other_numbers_per_node_agree_with_the_cpu(cuda, per_node, dim, dtype):
    rng = np.random.default_rng(per_node)
    for n in (1, per_node // 2 + 2, 2 * per_node + 1, 30, 69):
        inputs = mixtures(2, 70, dim, dtype, rng)
        inputs = of_one_sign(*inputs) if n == 1 else inputs
        compare_trees(cuda("tree_hem"), inputs, n, per_node, rng)


@pytest.mark.parametrize("per_node", [1, 2, 4])
def test_many_components_agree_with_the_cpu(cuda, per_node):
    rng = np.random.default_rng(per_node)
    compare_trees(cuda("tree_hem"), mixtures(1, 300, 2, "float64", rng), 40, per_node, rng)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("per_node", [1, 2, 4])
def test_ties_of_distances_masses_and_cells_are_broken_as_on_the_cpu(cuda, per_node, dtype):
    rng = np.random.default_rng(per_node)
    M, N, K = 2, 60, 2
    means = rng.integers(-3, 4, (M, N, K)).astype(dtype) * dtype_of(dtype, 0.1)
    weights = rng.choice([-0.5, 0.0, 0.5, 0.5], (M, N)).astype(dtype)
    covariances = np.broadcast_to(np.eye(K, dtype=dtype) / 4, (M, N, K, K)).copy()
    for n in (2, 7, 20, 50):
        compare_trees(cuda("tree_hem"), (weights, means, covariances), n, per_node, rng)


def dtype_of(dtype, number):
    return np.dtype(dtype).type(number)


@pytest.mark.parametrize("case", ["coincident", "collinear", "duplicates", "cross", "all_absent"])
def test_degenerate_mixtures_agree_with_the_cpu(cuda, case):
    rng = np.random.default_rng(0)
    m = random_mixture(3, (2,), 40, 2, signed=True, absent=0.2, degenerate=case)
    for n in (2, 9, 38):
        compare_trees(cuda("tree_hem"), m.arrays, n, 2, rng)


def test_a_cross_convolved_with_crosses_agrees_with_the_cpu(cuda):
    rng = np.random.default_rng(0)
    cross = np.array([[0, 0], [1, 0], [0, 1], [-1, 0], [0, -1]], "float32") * dtype_of("float32", 2.5)
    means = (cross[:, None, None] + cross[:, None] / 3 + cross).reshape(1, 125, 2)
    weights = np.where(rng.random((1, 125)) < 0.3, -1, 1).astype("float32")
    covariances = np.broadcast_to(np.eye(2, dtype="float32"), (1, 125, 2, 2)).copy()
    for n in (2, 8, 32):
        for per_node in (1, 2, 4):
            compare_trees(cuda("tree_hem"), (weights, means, covariances), n, per_node, rng)


def test_what_fits_without_a_merge_is_kept_bit_for_bit_in_its_order(cuda):
    rng = np.random.default_rng(0)
    inputs = mixtures(2, 300, 2, "float32", rng, absent=0.6)
    weights, means, covariances = inputs
    (_, selected), (got, got_means, got_covariances) = split(
        cuda("tree_hem").plan_and_forward(*on_gpu(inputs), 299, 2)
    )
    for m in range(2):
        kept = np.flatnonzero(weights[m])
        assert np.all(on_cpu(selected)[m, : kept.size] < 0)
        np.testing.assert_array_equal(on_cpu(got)[m, : kept.size], weights[m, kept])
        np.testing.assert_array_equal(on_cpu(got_means)[m, : kept.size], means[m, kept])
        np.testing.assert_array_equal(on_cpu(got_covariances)[m, : kept.size], covariances[m, kept])
        assert not np.any(on_cpu(got)[m, kept.size :])
    compare_trees(cuda("tree_hem"), inputs, 299, 2, rng)


def split(plan_and_outputs):
    plan, outputs = plan_and_outputs
    return (plan[0], plan[4]), outputs


def test_no_mixtures_give_no_result(cuda):
    rng = np.random.default_rng(0)
    compare_trees(cuda("tree_hem"), mixtures(0, 5, 2, "float32", rng), 3, 2, rng)


def test_means_1e9_deviations_apart_agree_with_the_cpu_and_stay_definite(cuda):
    rng = np.random.default_rng(0)
    weights, means, covariances = mixtures(1, 40, 3, "float64", rng, absent=0.0)
    inputs = (np.abs(weights), means, 1e-18 * covariances)
    want_plan, want = cpu.plan_and_forward(*inputs, 6, 2)
    plan, got = cuda("tree_hem").plan_and_forward(*on_gpu(inputs), 6, 2)
    agree("exact", plan, want_plan, size=1)
    agree("solve", got, want, size=40)
    assert np.all(np.linalg.eigvalsh(on_cpu(got[2])) > 0)
