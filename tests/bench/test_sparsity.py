"""The sparsity benchmark: it runs, and what it calls nothing is nothing."""

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from gmengine.testing import strategies as gms

ROOT = Path(__file__).parents[2]


@pytest.fixture
def sparsity(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    return import_module("bench.sparsity")


def run(*arguments):
    command = [sys.executable, "-m", "bench.sparsity", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def test_the_sparsity_command_measures_every_layer(tmp_path):
    file = tmp_path / "figures.json"
    done = run("--smoke", "--epochs", "0", "--json", str(file))
    assert done.returncode == 0, done.stderr
    rows = json.loads(file.read_text())["results"]
    assert [row["layer"] for row in rows] == ["0", "1", "all"]
    for row in rows:
        assert 0.0 <= row["own"] <= row["pairs"] < 1.0
        assert all(row[f"{t} cheap"] <= row[f"{t} exact"] <= row["pairs"] for t in ("16x16", "64x16", "16x1"))


def test_missing_fashion_mnist_is_said_with_the_command_that_installs_it(tmp_path):
    done = run("--data", "fashion-mnist", "--folder", str(tmp_path))
    assert done.returncode == 2
    assert "apt-get install dataset-fashion-mnist" in done.stderr


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("spread", [1.0, 30.0])
def test_pairs_that_are_nothing_change_no_sum_by_more_than_eps(sparsity, dtype, spread):
    m = gms.random_mixture(5, (), 150, 2, absent=0.1)
    m = type(m)(m.weights, spread * m.means, m.covariances)
    eps = float(np.finfo(dtype).eps)
    p = sparsity.Pairs(m, eps)
    for limits in (p.own, p.limits):
        left_out = p.nothing(limits)
        assert left_out.any()
        for factors, limit in zip((np.abs(p.w), p.coarse), limits, strict=True):
            lost = np.sum(factors * p.g * left_out, axis=1)
            assert np.all(lost <= p.n * limit)
    own_terms = np.abs(p.w) * np.diagonal(p.g)
    lost = np.abs(np.sum(p.w * p.g * p.nothing(p.own), axis=1))
    assert np.all(lost <= eps * np.sum(np.abs(p.w) * p.g, axis=1))
    assert np.all(eps * own_terms >= p.n * p.own[0] * (1.0 - 4.0 * np.finfo(np.float64).eps))


@pytest.mark.parametrize("shape", [(16, 16), (64, 16), (16, 1), (64, 1)])
def test_cheap_bounds_never_leave_out_a_pair_that_counts(sparsity, shape):
    m = gms.random_mixture(6, (), 200, 3, absent=0.1)
    p = sparsity.Pairs(type(m)(m.weights, 20.0 * m.means, m.covariances), float(np.finfo(np.float32).eps))
    exponents = np.log2(p.g / np.max(p.g * np.eye(p.n), axis=0) + np.finfo(np.float64).tiny)
    for first in range(0, p.n, shape[0]):
        rows = slice(first, first + shape[0])
        bounds = np.repeat(sparsity.cheap_exponents(p, rows, shape[1]), shape[1])[: p.n]
        visible = exponents[rows] > np.log2(np.finfo(np.float32).tiny)
        slack = 1e-9 * np.abs(bounds)
        assert np.all(~visible | (exponents[rows] <= bounds + slack))
