"""tree_hem of gmengine.cuda, run on the CPU: its faults, its memory, its sizes."""

import numpy as np
import pytest
from twins import agree, cotangent, mixtures, on_cpu, on_gpu

from gmengine.cpu import tree_hem as cpu
from gmengine.deferred import deferred_checks
from gmengine.errors import ArgumentError, NonFiniteError, NotPositiveDefinite


def of_one_sign(weights, means, covariances):
    return np.abs(weights), means, covariances


def everything(house, inputs, n, per_node):
    """Return plan, result and gradients."""
    plan, outputs = house.plan_and_forward(*on_gpu(inputs), n, per_node)
    _, residuals = house.forward(*on_gpu(inputs), plan, outputs)
    g = on_gpu(cotangent(on_cpu(outputs), np.random.default_rng(1)))
    return on_cpu((*plan, *outputs, *house.vjp(residuals, *g, (True, True, True))))


@pytest.mark.parametrize("per_node", [2, 4])
def test_neither_chunks_nor_blocks_nor_where_slots_are_staged_changes_a_bit(cuda, monkeypatch, per_node):
    inputs = mixtures(3, 90, 2, "float32", np.random.default_rng(0))
    house, work = cuda("tree_hem"), cuda("_tree_work")
    want = everything(house, inputs, 21, per_node)
    area = work.Staging.of(2, per_node, True).shared
    monkeypatch.setattr(work, "SCRATCH", 1)
    assert list(work.chunks(3, 1000)) == [(0, 1), (1, 1), (2, 1)]
    agree("exact", everything(house, inputs, 21, per_node), want, size=1)
    for shared, threads in ((area // 2, 32), (0, 32)):
        monkeypatch.setattr(work, "SHARED", shared)
        staging = work.Staging.of(2, per_node, True)
        assert threads <= staging.threads < work.WARP * work.MOST_WARPS
        assert (staging.numbers > 0) == (shared == 0)
        agree("exact", everything(house, inputs, 21, per_node), want, size=1)


def test_more_keys_than_shared_memory_holds_are_sorted_in_global_memory(cuda):
    N = 6000
    weights = np.where(np.arange(N) % 3 == 0, -1.0, 1.0)[None]
    means = np.random.default_rng(0).normal(size=(1, N, 1))
    inputs = (weights, means, np.ones((1, N, 1, 1)))
    want_plan, want = cpu.plan_and_forward(*inputs, 9, 2)
    plan, got = cuda("tree_hem").plan_and_forward(*on_gpu(inputs), 9, 2)
    agree("exact", plan, want_plan, size=1)
    agree("solve", got, want, size=N)


def test_components_in_one_place_are_parted_by_their_indices(cuda):
    inputs = (np.ones((1, 129)), np.zeros((1, 129, 1)), np.ones((1, 129, 1, 1)))
    inputs[1][0, :2, 0] = 1, -1  # the others lie in the very centre, where rounding parts no two of them
    want_plan, want = cpu.plan_and_forward(*inputs, 2, 2)
    plan, got = cuda("tree_hem").plan_and_forward(*on_gpu(inputs), 2, 2)
    agree("exact", plan, want_plan, size=1)
    agree("solve", got, want, size=129)


def test_a_plan_is_applied_to_other_values_as_on_the_cpu(cuda):
    rng = np.random.default_rng(0)
    weights, means, covariances = mixtures(2, 50, 3, "float64", rng)
    plan = cuda("tree_hem").plan(*on_gpu((weights, means, covariances)), 12, 2)
    moved = (1.5 * weights, means + 0.1 * rng.normal(size=means.shape), 2 * covariances)
    got, residuals = cuda("tree_hem").forward(*on_gpu(moved), plan)
    want, want_residuals = cpu.forward(*moved, on_cpu(plan))
    agree("solve", got, want, size=50)
    g, needs = cotangent(want, rng), (True, True, True)
    grads = cuda("tree_hem").vjp(residuals, *on_gpu(g), needs)
    agree("gradient", grads, cpu.vjp(want_residuals, *g, needs), size=50)


def test_arrays_with_strides_are_read_as_they_are(cuda):
    weights, means, covariances = on_gpu(mixtures(4, 30, 2, "float32", np.random.default_rng(0)))
    house = cuda("tree_hem")
    every_second = (weights[::2], means[::2], covariances[::2])
    plan, got = house.plan_and_forward(*every_second, 7, 2)
    whole_plan, whole = house.plan_and_forward(weights, means, covariances, 7, 2)
    agree("exact", (*plan, *got), on_cpu(tuple(a[::2] for a in (*whole_plan, *whole))), size=1)
    strided = tuple(a[::2] for a in whole_plan)
    agree("exact", house.forward(*every_second, strided)[0], on_cpu(got), size=1)


def test_every_kernel_runs_once(cuda):
    house, launches = cuda("tree_hem"), cuda("_launch").launches
    everything(house, mixtures(2, 20, 2, "float32", np.random.default_rng(0)), 5, 2)
    assert launches == {"tree_plan": 1, "tree_hem_decide": 1, "tree_hem_vjp": 1}


def broken(what):
    weights, means, covariances = mixtures(3, 40, 2, "float32", np.random.default_rng(0), absent=0.0)
    if what == "indefinite":
        covariances[1, 33] = -np.eye(2)
    elif what == "not finite":
        means[1, 7, 1] = np.inf
    elif what == "not a number":
        weights[1, 3] = np.nan
    covariances[2, 0] = np.nan
    return weights, means, covariances


@pytest.mark.parametrize(
    ("what", "error", "message"),
    [
        ("indefinite", NotPositiveDefinite, r"reduce: expected positive definite .* component \[1, 33\]"),
        ("not finite", NonFiniteError, r"reduce: expected finite numbers, component \[1, 7\]"),
        ("not a number", NonFiniteError, r"reduce: expected finite numbers, component \[1, 3\]"),
    ],
)
def test_the_first_component_that_is_no_gaussian_is_named(cuda, what, error, message):
    inputs = broken(what)
    for house, arrays in ((cpu, inputs), (cuda("tree_hem"), on_gpu(inputs))):
        with pytest.raises(error, match=message):
            house.plan_and_forward(*arrays, 5, 2)
    sound = mixtures(3, 40, 2, "float32", np.random.default_rng(0), absent=0.0)
    sound[0][:] = inputs[0]
    plan = cuda("tree_hem").plan(*on_gpu((np.nan_to_num(sound[0], nan=1.0), *sound[1:])), 5, 2)
    with pytest.raises(error, match=message):
        cuda("tree_hem").forward(*on_gpu(inputs), plan)


def test_an_absent_component_may_be_anything_finite(cuda):
    weights, means, covariances = mixtures(1, 20, 2, "float64", np.random.default_rng(0), absent=0.0)
    weights[0, 3:9], means[0, 3:9], covariances[0, 3:9] = 0.0, 1e300, -1e300
    want_plan, want = cpu.plan_and_forward(weights, means, covariances, 5, 2)
    plan, got = cuda("tree_hem").plan_and_forward(*on_gpu((weights, means, covariances)), 5, 2)
    agree("exact", plan, want_plan, size=1)
    agree("solve", got, want, size=20)


def test_two_signs_in_one_component_are_refused_in_the_words_of_the_cpu(cuda):
    inputs = of_one_sign(*mixtures(3, 8, 2, "float32", np.random.default_rng(0)))
    inputs[0][1:, 2] = [0.5, -0.5]
    inputs[2][1:, 2] = np.eye(2)
    inputs[0][1:, 3] = [-0.5, 0.5]
    inputs[2][1:, 3] = np.eye(2)
    errors = []
    for house, arrays in ((cpu, inputs), (cuda("tree_hem"), on_gpu(inputs))):
        with pytest.raises(
            ArgumentError, match="for mixture 1, which has components of both signs"
        ) as caught:
            house.plan_and_forward(*arrays, 1, 2)
        errors.append(str(caught.value))
    assert errors[0] == errors[1]


@pytest.mark.parametrize("change", ["another sign", "gone", "more than there were", "fewer than there were"])
def test_a_plan_for_other_signs_is_refused_in_the_words_of_the_cpu(cuda, change):
    weights, means, covariances = mixtures(2, 30, 2, "float32", np.random.default_rng(0), absent=0.0)
    weights[1, 20:24] = 0.0
    plan = cpu.plan(weights, means, covariances, 6, 2)
    if change == "another sign":
        weights[1, 5] *= -1
    elif change == "gone":
        weights[1, 11] = 0
    elif change == "more than there were":
        weights[1, 22] = 1
    else:
        weights[1, 12:15] = 0
    errors = []
    for house, arrays in ((cpu, ((weights, means, covariances), plan)), (cuda("tree_hem"), None)):
        inputs, given = arrays or (on_gpu((weights, means, covariances)), on_gpu(plan))
        with pytest.raises(ArgumentError, match="apply: expected the signs and absent components") as caught:
            house.forward(*inputs, given)
        errors.append(str(caught.value))
    assert errors[0] == errors[1]


@pytest.mark.parametrize("what", ["indefinite", "not finite", "not a number"])
def test_in_a_block_of_deferred_checks_a_fault_is_named_at_its_end(cuda, what):
    rng = np.random.default_rng(0)
    house, finished = cuda("tree_hem"), []
    sound = mixtures(3, 40, 2, "float32", np.random.default_rng(0), absent=0.0)
    plan = house.plan(*on_gpu(sound), 5, 2)

    def block():
        with deferred_checks():
            _, residuals = house.forward(*on_gpu(broken(what)), plan)
            house.vjp(residuals, *on_gpu(cotangent(everything(house, sound, 5, 2)[8:11], rng)), (True,) * 3)
            finished.append(everything(house, broken(what), 5, 2))

    with pytest.raises((NotPositiveDefinite, NonFiniteError), match=r"reduce: .* component \[1, "):
        block()
    assert len(finished) == 1
