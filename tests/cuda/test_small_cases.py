"""The smallest call, with its gradients, of all that has CUDA kernels; also what runs under sanitizers."""

from __future__ import annotations

import sys

import host_cupy
import numpy as np
import pytest
from as_backend import HOUSES, cuda_houses_on_host

import gmengine as gm
from gmengine.autograd import leaves

POINTS = np.random.default_rng(1).normal(size=(2, 5, 2)).astype("float32")
CASES = {
    "convolve": lambda m: gm.convolve(m.reshape((2, 1)), m.reshape((1, 2))[:, :1]),
    "derivatives": lambda m: [gm.density_gradient(m, POINTS), gm.density_hessian(m, POINTS)],
    "em": lambda m: gm.reduce(m, 4, method="em"),
    "evaluate": lambda m: gm.evaluate(m, POINTS),
    "hem": lambda m: gm.reduce(m, 2, method="hem"),
    "product": lambda m: [gm.product(m, m), gm.l2_distance(m, m[::-1])],
    "relu": lambda m: gm.relu(m, bias=0.1),
    "render": lambda m: gm.render(m, ((-2.0, -2.0), (2.0, 2.0)), (9, 7)),
    "top": lambda m: gm.reduce(m, 3, method="top"),
    "tree_hem": lambda m: gm.reduce(m, 4),
}
FITS = {
    "fit_em": {"n_components": 3, "method": "random+em", "steps": 2, "tol": 1e-9},
    "fit_kmeans": {"n_components": 7, "method": "kmeans"},
}


def small():
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(2, 9, 2, 2))
    covariances = factors @ np.swapaxes(factors, -1, -2) + 0.3 * np.eye(2)
    weights = rng.normal(size=(2, 9))
    weights[1, 4] = 0.0
    return gm.Mixture(weights, rng.normal(size=(2, 9, 2)), covariances).astype("float32")


def total(outputs):
    parts = [gm.autograd.arrays.sum(x) for x in leaves(outputs)]
    result = parts[0]
    for part in parts[1:]:
        result = gm.autograd.arrays.add(result, part)
    return result


def test_every_house_has_its_case():
    assert sorted({**CASES, **FITS}) == HOUSES


@pytest.mark.sanitize
@pytest.mark.parametrize("name", sorted(CASES))
def test_the_smallest_case_runs_with_its_gradients(name):
    with cuda_houses_on_host():
        launched = sys.modules["gmengine.cuda._launch"].launches
        value, slopes = gm.value_and_grad(lambda m: total(CASES[name](m)))(small())
        assert np.isfinite(value)
        assert all(np.isfinite(g).all() and g.any() for g in slopes.arrays)
        assert any(kernel.startswith(name) or name in kernel for kernel in launched), dict(launched)
    assert sys.modules.get("cupy") is not host_cupy


@pytest.mark.sanitize
@pytest.mark.parametrize("init", ["kmeans++", "furthest"])
@pytest.mark.parametrize("name", sorted(FITS))
def test_the_smallest_fit_runs(name, init):
    options = {**FITS[name], **({"init": init} if name == "fit_kmeans" else {})}
    masses = np.array([[1, 0, 2, 3, 1], [0, 0, 0, 0, 0]], np.float32)
    with cuda_houses_on_host():
        launched = sys.modules["gmengine.cuda._launch"].launches
        mixture = gm.fit(POINTS, weights=masses, **options)
        assert np.count_nonzero(mixture.weights[0]) == min(4, options["n_components"])
        assert not mixture.weights[1].any()
        assert any(kernel.startswith(name) for kernel in launched), dict(launched)
