"""Training and the public ops on a stand-in that refuses what CuPy refuses and notes every wait for the GPU."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import strict_cupy
from twins import agree

import gmengine as gm
from gmengine.autograd import arrays, leaves
from gmengine.backend import to_device
from gmengine.data import Dataset
from gmengine.deferred import deferred_checks
from gmengine.errors import BackendError, NonFiniteError, NotPositiveDefinite
from gmengine.testing import asnumpy
from gmengine.training import Learner, RunConfig, run_epoch, train_epoch
from gmengine.training.checkpoint import load_checkpoint, make_network, save_checkpoint
from gmengine.training.splits import Task

SAMPLES, COMPONENTS, K = 20, 6, 2
EVERYTHING = {"weight_decay": 0.01, "average": 0.5, "schedule": "plateau", "network": {"bias": True}}


@pytest.fixture
def cupy():
    with strict_cupy.installed() as module:
        yield module


def mixture(*batch, absent=True):
    rng = np.random.default_rng(len(batch))
    factors = 0.2 * rng.normal(size=(*batch, COMPONENTS, K, K)) + 0.8 * np.eye(K)
    weights = rng.random((*batch, COMPONENTS)) + 0.1
    if absent:
        weights[..., -1] = 0.0
    covariances = factors @ np.swapaxes(factors, -1, -2) + 0.05 * np.eye(K)
    return gm.Mixture(weights, rng.normal(size=(*batch, COMPONENTS, K)), covariances).astype("float32")


def dataset():
    return Dataset(mixture(SAMPLES, 1), np.arange(SAMPLES) % 3, ("a", "b", "c"), "data", "source", "licence")


def learner(device, **options):
    config = RunConfig(
        layers="1/6 -> 4/3 -> 3", epochs=2, batch_size=10, lr=0.02, device=device, dtype="float32", **options
    )
    return Learner(config, make_network(config, K), SAMPLES)


def host(tree):
    return tuple(asnumpy(x) for x in leaves(tree))


def same(kind, got, want, device=0):
    """Assert that what lies on the device is what the CPU has computed."""
    assert all(isinstance(x, strict_cupy.ndarray) and x.device.id == device for x in leaves(got))
    agree(kind, host(got), host(want), size=SAMPLES * COMPONENTS)


@pytest.mark.parametrize("options", [{}, EVERYTHING], ids=["default", "everything"])
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_an_epoch_never_waits_for_the_gpu_and_learns_what_the_cpu_learns(cupy, device, options):
    on_cpu, on_gpu = learner("cpu", **options), learner(device, **options)
    start = on_gpu.init()
    strict_cupy.waits.clear()
    got, tally = train_epoch(on_gpu, start, dataset())
    assert strict_cupy.waits == []
    want, expected = train_epoch(on_cpu, on_cpu.init(), dataset())
    assert (tally.batches, tally.samples) == (expected.batches, expected.samples) == (2, SAMPLES)
    for name in want.model.params:
        same("gradient", got.model.params[name], want.model.params[name], device=int(device[5:] or 0))
    assert sum(sys.modules["gmengine.cuda._launch"].launches.values()) > 0


def test_a_checkpoint_of_a_gpu_goes_on_on_the_cpu(cupy, tmp_path):
    on_gpu = learner("cuda:1", **EVERYTHING)
    progress = run_epoch(on_gpu, on_gpu.init(), dataset(), dataset())
    save_checkpoint(tmp_path / "c.npz", on_gpu.config, Task(K, ("a", "b", "c"), (SAMPLES, 5, 5), 1), progress)
    back = load_checkpoint(tmp_path / "c.npz", device="cpu")
    for name, value in progress.model.params.items():
        assert type(back.progress.model.params[name]) is np.ndarray
        same("exact", value, back.progress.model.params[name], device=1)
    assert run_epoch(back.learner, back.progress, dataset(), dataset()).epoch == 2
    again = load_checkpoint(tmp_path / "c.npz")
    assert run_epoch(again.learner, again.progress, dataset(), dataset()).epoch == 2


POINTS = np.random.default_rng(7).normal(size=(2, 2, 4, K)).astype("float32")
MATRIX = np.array([[1.0, 0.2], [-0.1, 0.9]], "float32")
OPS = {
    "affine": lambda m, x: gm.affine(m, MATRIX.tolist(), 0.5),
    "conditional": lambda m, x: gm.conditional(m, [0], x[..., 0, :1]),
    "convolve": lambda m, x: gm.convolve(m, m),
    "density_gradient": gm.density_gradient,
    "density_hessian": gm.density_hessian,
    "evaluate": gm.evaluate,
    "fit_transfer": lambda m, x: gm.fit_transfer(m, gm.transfer.tanh),
    "l2_distance": lambda m, x: gm.l2_distance(m, gm.scale(m, 2.0)),
    "moments": lambda m, x: gm.moments(m),
    "normalise": lambda m, x: gm.normalise(m),
    "product": lambda m, x: gm.product(m, m),
    "reduce_em": lambda m, x: gm.reduce(m, 3, method="em"),
    "reduce_hem": lambda m, x: gm.reduce(m, 3, method="hem"),
    "reduce_top": lambda m, x: gm.reduce(m, 3, method="top"),
    "reduce_tree_hem": lambda m, x: gm.reduce(m, 3, method="tree_hem"),
    "relu": lambda m, x: gm.relu(m, bias=0.1),
    "render": lambda m, x: gm.render(m, (-np.ones(K), np.ones(K)), (3, 4)),
}


@pytest.mark.parametrize("name", sorted(OPS))
def test_an_op_on_a_gpu_gives_the_values_and_gradients_of_the_cpu(cupy, name):
    def total(m, x):
        parts = [arrays.sum(arrays.multiply(y, y)) for y in leaves(OPS[name](m, x))]
        result = parts[0]
        for part in parts[1:]:
            result = arrays.add(result, part)
        return result

    m = mixture(2, 2, absent=name != "conditional")
    same("gradient", OPS[name](m.to("cuda"), to_device(POINTS, "cuda")), OPS[name](m, POINTS))
    got, got_slopes = gm.value_and_grad(total)(m.to("cuda"), to_device(POINTS, "cuda"))
    want, want_slopes = gm.value_and_grad(total)(m, POINTS)
    same("gradient", got, want)
    same("gradient", got_slopes, want_slopes)


@pytest.mark.parametrize(
    "options",
    [
        {"method": "kmeans"},
        {"method": "kmeans", "init": "furthest"},
        {"method": "kmeans+em", "steps": 3},
        {"method": "random+em", "steps": 5, "tol": 0.0},
    ],
    ids=str,
)
def test_a_fit_on_a_gpu_gives_the_mixture_of_the_cpu(cupy, options):
    rng = np.random.default_rng(0)
    points, masses = rng.standard_normal((3, 60, 2)), rng.uniform(0.1, 1, (3, 60))
    want = gm.fit(points, 6, masses, **options)
    got = gm.fit(to_device(points, "cuda"), 6, to_device(masses, "cuda"), **options)
    same("gradient", got.arrays, want.arrays)
    ragged = gm.fit([to_device(p, "cuda") for p in (points[0], points[1, :20])], 6, **options)
    same("gradient", ragged.arrays, gm.fit([points[0], points[1, :20]], 6, **options).arrays)


def test_a_method_without_cuda_kernels_says_so(cupy):
    with pytest.raises(BackendError, match="hem"):
        gm.fit(to_device(np.ones((5, 2)), "cuda"), 2, method="hem")


def faulty(what):
    m = mixture(2, 2)
    if what is NotPositiveDefinite:
        m.covariances[1, 0, 2] = -np.eye(K)
    else:
        m.weights[1, 0, 2] = np.nan
    return m.to("cuda")


@pytest.mark.parametrize("error", [NonFiniteError, NotPositiveDefinite])
@pytest.mark.parametrize(
    "name", ["density_gradient", "evaluate", "product", "reduce_tree_hem", "relu", "render"]
)
def test_a_faulty_component_raises_the_error_of_the_cpu_at_once_and_deferred(cupy, name, error):
    m, x = faulty(error), to_device(POINTS, "cuda")
    with pytest.raises(error):
        OPS[name](m.to("cpu"), POINTS)
    with pytest.raises(error):
        OPS[name](m, x)
    reached = False
    with pytest.raises(error), deferred_checks():  # noqa: PT012
        strict_cupy.waits.clear()
        OPS[name](m, x)
        reached = True
    assert reached
    assert strict_cupy.waits == []


def test_the_stand_in_refuses_arrays_of_numpy(cupy):
    x, numbers = cupy.ones(3), np.ones(3)
    for mix in (
        lambda: x + numbers,
        lambda: numbers + x,
        lambda: np.add(x, numbers),
        lambda: cupy.add(x, numbers),
        lambda: cupy.sum(numbers),
        lambda: x[np.zeros(1, int)],
        lambda: np.asarray(x),
        lambda: cupy.where(True, x, x),
    ):
        with pytest.raises(TypeError):
            mix()
    with pytest.raises(BackendError):
        gm.backend.namespace(x, numbers)


def test_the_stand_in_notes_every_wait(cupy):
    x = cupy.ones(3)
    (x + 1.0).sum().reshape(1)
    assert strict_cupy.waits == []
    for wait in (
        lambda: bool(x[0]),
        lambda: float(x[0]),
        lambda: x[0].item(),
        lambda: x.tolist(),
        lambda: x[x > 0],
        lambda: x.get(),
        lambda: cupy.asnumpy(x),
        lambda: cupy.nonzero(x),
        lambda: x.nonzero(),
        lambda: x.device.synchronize(),
    ):
        strict_cupy.waits.clear()
        wait()
        assert len(strict_cupy.waits) == 1


def test_the_stand_in_computes_on_the_current_device_only(cupy):
    with cupy.cuda.Device(1):
        x = cupy.ones((2, 3))
    assert x.device.id == x.T.device.id == x[0].device.id == 1
    for compute in (lambda: x + 1.0, lambda: 1.0 / x, lambda: cupy.exp(x), lambda: x.sum()):
        with pytest.raises(ValueError, match="current device"):
            compute()
        with x.device:
            assert compute().device.id == 1


def test_the_stand_in_has_the_parameters_of_cupy_and_no_others(cupy):
    x = cupy.ones((2, 2))
    for call in (
        lambda: cupy.sum(x, where=x > 0),
        lambda: cupy.exp(x, order="C"),
        lambda: x.astype("f4", device=None),
        lambda: cupy.asarray(x, device=0),
    ):
        with pytest.raises(TypeError, match="argument"):
            call()
    assert not hasattr(cupy, "nanmax")


def test_a_copy_that_nobody_waited_for_has_not_arrived(cupy):
    target, event = np.zeros(2), cupy.cuda.Event()
    cupy.ones(2).get(out=target, blocking=False)
    event.record()
    assert np.isnan(target).all()
    event.synchronize()
    np.testing.assert_array_equal(target, 1.0)
