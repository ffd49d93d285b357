"""exp2: the kernels' own power of two, against 30 digits."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from numba import njit

from gmengine.cpu._compile import FLAGS
from gmengine.cpu._exp2 import exp2

LOWEST = {"float32": -126.0, "float64": -1022.0}
ULP = {"float32": 2.0, "float64": 4.0}


@njit(**FLAGS)
def _map(t, out):
    for i in range(t.size):
        out[i] = exp2(t[i])


def powers(t):
    out = np.empty_like(t)
    _map(t, out)
    return out


def arguments(dtype):
    """Return arguments of normal results: everywhere, near 0, and on both sides of integers and halves."""
    rng = np.random.default_rng(0)
    lowest = LOWEST[dtype]
    steps = np.arange(lowest + 1, 1, 0.5, dtype=dtype)
    return np.concatenate(
        [
            rng.uniform(lowest, 0, 1000).astype(dtype),
            rng.uniform(-2, 0, 1000).astype(dtype),
            (-(10.0 ** rng.uniform(-30, 0, 300))).astype(dtype),
            steps,
            np.nextafter(steps, dtype_of(dtype)(1)),
            np.nextafter(steps, dtype_of(dtype)(-2000)),
        ]
    )


def dtype_of(name):
    return np.dtype(name).type


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_powers_are_right_to_a_few_units_in_the_last_place(dtype):
    t = arguments(dtype)
    got = powers(t)
    with mpmath.workdps(30):
        for x, value in zip(t, got, strict=True):
            want = mpmath.mpf(2) ** mpmath.mpf(float(x))
            unit = mpmath.mpf(float(np.spacing(dtype_of(dtype)(float(want)))))
            assert abs(mpmath.mpf(float(value)) - want) <= ULP[dtype] * unit, (
                f"2^{x!r} is {want}, got {value}"
            )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_integers_are_exact(dtype):
    t = np.arange(LOWEST[dtype], 100, dtype=dtype)
    np.testing.assert_array_equal(powers(t), np.ldexp(np.ones(1, dtype), t.astype(int)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_arguments_slightly_above_zero_are_right(dtype):
    t = np.linspace(0, 1e-3, 100, dtype=dtype)
    np.testing.assert_allclose(powers(t), np.exp2(t.astype(np.float64)), rtol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_results_below_the_smallest_normal_number_are_zero(dtype):
    lowest = dtype_of(dtype)(LOWEST[dtype])
    below = np.nextafter(lowest, dtype_of(dtype)(-np.inf))
    t = np.array([below, lowest - 0.25, lowest - 1, lowest - 1.5, 2 * lowest, -1e30, -np.inf], dtype)
    np.testing.assert_array_equal(powers(t), np.zeros_like(t))
    assert powers(np.array([lowest], dtype))[0] == np.finfo(dtype).tiny


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_argument_up_to_zero_gives_anything_but_a_number_from_zero_to_one(dtype):
    bits = np.random.default_rng(1).integers(0, 2**63, 100_000, dtype=np.uint64)
    t = -np.abs(np.frombuffer(bits.tobytes(), dtype))
    t = t[~np.isnan(t)]
    got = powers(t)
    assert np.all(np.isfinite(got) & (got >= 0) & (got <= 1))
