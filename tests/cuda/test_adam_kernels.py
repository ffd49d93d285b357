"""Updates of parameters and clipping by gmengine.cuda, run on the CPU, beside gmengine.optim on NumPy arrays."""

import host_cupy
import numpy as np
import pytest
from twins import agree, on_cpu, on_gpu

from gmengine.deferred import check, collected_checks
from gmengine.errors import BackendError, NonFiniteError
from gmengine.optim import SGD, Adam, adam, clip_by_global_norm, clipping, sgd

SHAPES = {"one": (), "none": (0, 3), "weights": (2, 3), "many": (3, 100, 9)}
OPTIMISERS = [Adam(lr=0.05), Adam(lr=1, betas=(0, 0.9)), SGD(lr=0.1), SGD(lr=1, momentum=0.5)]


@pytest.fixture(autouse=True)
def stand_in(cuda, monkeypatch):
    """Send the stand-in's arrays to gmengine.cuda, as CuPy's are."""
    for module in (adam, sgd, clipping):
        of_others = module.cuda_house
        monkeypatch.setattr(
            module,
            "cuda_house",
            lambda name, *trees, of_others=of_others: (
                cuda(name)
                if any(isinstance(a, host_cupy.ndarray) for tree in trees for a in tree.values())
                else of_others(name, *trees)
            ),
        )


def tree(dtype, rng, shapes=SHAPES):
    return {name: np.asarray(rng.normal(size=shape)).astype(dtype) for name, shape in shapes.items()}


def moved(values):
    return {name: on_gpu(np.asarray(array)) for name, array in values.items()}


def same(kind, got, want, size=1):
    assert list(got) == list(want)
    for name, array in want.items():
        assert isinstance(got[name], host_cupy.ndarray)
        assert got[name].shape == np.shape(array)
        agree(kind, got[name], np.asarray(array), size=size, name=name, scale=1.0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimiser", OPTIMISERS, ids=repr)
def test_an_update_is_that_of_the_cpu_step_after_step(optimiser, dtype, cuda):
    rng = np.random.default_rng(0)
    params = tree(dtype, rng)
    on_device, state = moved(params), optimiser.init(params)
    of_device = type(state)(state[0], *(moved(group) for group in state[1:]))
    for step in range(4):
        grads, before = tree(dtype, rng), {name: a.copy() for name, a in on_device.items()}
        given = moved(grads)
        found, then = optimiser.update(on_device, given, of_device, scale=1 / (1 + step))
        params, state = optimiser.update(params, grads, state, scale=1 / (1 + step))
        same("elementwise", found, params)
        for got, want in zip(then[1:], state[1:], strict=True):
            same("elementwise", got, want)
        same("exact", on_device, before)  # updates are pure
        same("exact", given, grads)
        again, _ = optimiser.update(on_device, given, of_device, scale=1 / (1 + step))
        same("exact", again, found)
        on_device, of_device = found, then
    assert of_device.step == 4
    assert sum(cuda("_launch").launches.values()) == 4 * 2 * (
        len(SHAPES) - 1
    )  # one kernel for each that is not empty


@pytest.mark.parametrize("optimiser", [Adam(), SGD(lr=0.1, momentum=0.5)], ids=repr)
def test_the_first_gradient_that_is_not_finite_is_named_at_once_or_when_asked(optimiser):
    params = moved(tree("float32", np.random.default_rng(1)))
    grads = moved(tree("float32", np.random.default_rng(2)))
    grads["weights"][1, 2], grads["many"][2, 3, 4] = np.nan, np.inf
    with pytest.raises(NonFiniteError, match=r"update: the gradient of 'weights' holds NaN or infinity"):
        optimiser.update(params, grads, optimiser.init(params))
    with collected_checks() as checks:
        new, _ = optimiser.update(params, grads, optimiser.init(params))
    assert new.keys() == params.keys()  # nobody looked
    with pytest.raises(NonFiniteError, match="'weights'"):
        checks.settle()


def test_nothing_to_update_is_updated():
    assert Adam().update({}, {}, Adam().init({}))[0] == {}
    assert SGD(lr=1.0).update({}, {}, SGD(lr=1.0).init({}))[0] == {}
    assert clip_by_global_norm({}, 1.0) == ({}, 0.0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("max_norm", [0.5, 1e3])
def test_gradients_are_clipped_as_on_the_cpu(max_norm, dtype):
    grads = tree(dtype, np.random.default_rng(3), {**SHAPES, "long": (70_000,)})
    want, length = clip_by_global_norm(grads, max_norm)
    got, norm = clip_by_global_norm(moved(grads), max_norm)
    same("elementwise", got, want)
    assert isinstance(norm, host_cupy.ndarray)
    assert norm.shape == ()
    agree("sum", norm, np.float64(length), size=70_000)
    again, _ = clip_by_global_norm(moved(grads), max_norm)
    same("exact", again, got)
    if length <= max_norm:
        same("exact", got, grads)


@pytest.mark.parametrize(
    "sizes", [(1e-200, 1e-180), (1e200, 1e180), (1e200, 1.0, 1e-200), (1e-200, 1.0), (0.0, 0.0)]
)
def test_squares_of_gradients_on_a_gpu_neither_overflow_nor_vanish(sizes):
    grads = {f"g{i}": np.full(3, size) for i, size in enumerate(sizes)}
    got, norm = clip_by_global_norm(moved(grads), 1e-3)
    want, length = clip_by_global_norm(grads, 1e-3)
    unit = max(sizes) or 1.0
    agree("sum", norm / unit, np.asarray(length / unit), size=9)
    for name in grads:
        agree("sum", got[name] / 1e-3, want[name] / 1e-3, size=9, scale=1.0)


def test_a_gradient_that_cannot_be_clipped_is_named_before_it_is_used():
    grads = moved(tree("float32", np.random.default_rng(4)))
    grads["many"][0, 0, 0] = np.nan
    with pytest.raises(NonFiniteError, match="clip_by_global_norm: the gradient of 'many'"):
        clip_by_global_norm(grads, 1.0)
    with collected_checks() as checks:
        clipped, norm = clip_by_global_norm(grads, 1.0)
        Adam().update(grads, clipped, Adam().init(grads))
    assert np.isnan(on_cpu(norm))
    with pytest.raises(NonFiniteError, match="clip_by_global_norm"):  # the cause, not what came of it
        checks.settle()


def test_parameters_of_two_devices_are_refused():
    params = moved(tree("float32", np.random.default_rng(5)))
    grads = moved(tree("float32", np.random.default_rng(5)))
    grads["many"].id_of_device = 1
    with pytest.raises(BackendError, match="expected arrays of one device"):
        Adam().update(params, grads, Adam().init(params))


def test_values_of_numpy_are_judged_at_once_even_in_a_block():
    seen = []
    with collected_checks() as checks:
        check(np.ones(2), seen.append)
        assert len(seen) == 1
        check(on_gpu(np.ones(2)), seen.append)
        assert len(seen) == 1
    checks.settle()
    assert len(seen) == 2
