"""Lanes: logarithms, exponentials, choices, and the way of rows to lanes and back."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from gmengine.cpu._lane_memory import aligned, drop, gather_rows, get, pick, put, scatter_rows
from gmengine.cpu._lanes import (
    LANES,
    anywhere,
    exp,
    exponent,
    log,
    mantissa,
    maximum,
    minimum,
    root,
    splat,
    where,
)
from gmengine.cpu._tables import keep, part, tail, view
from gmengine.testing import assert_close


@njit
def functions(x, out):
    a, table = get(view(x), 0, 0), view(out)
    put(table, 0, 0, log(a, 0.0))
    put(table, 1, 0, mantissa(a))
    put(table, 2, 0, exponent(a))
    put(table, 3, 0, exp(-a))
    put(table, 4, 0, root(a))
    put(table, 5, 0, log(a, 3.0))


def evaluated(x):
    out = np.empty((6, 1, LANES))
    functions(x.reshape(1, 1, LANES), out)
    return out[:, 0]


EXPONENTS = np.linspace(-1074, 1023, 200 * LANES).reshape(-1, LANES)


@pytest.mark.parametrize("powers", EXPONENTS[::20])
def test_logarithms_of_every_magnitude_are_those_of_the_library(powers):
    x = np.ldexp(1.5, powers.astype(int) - 1) + 5e-324
    got = evaluated(x)
    assert_close("elementwise", got[0], np.log(x))
    assert_close("elementwise", got[5], np.log(x) + 3 * np.log(2), scale=np.abs(np.log(x)) + 3)
    assert_close("elementwise", got[4], np.sqrt(x))


def test_logarithms_near_one_lose_nothing():
    x = 1.0 + np.array([1e-15, -1e-15, 1e-9, -1e-9, 1e-4, -1e-4, 0.3, -0.3])
    assert_close("elementwise", evaluated(x)[0], np.log(x))
    assert evaluated(np.ones(LANES))[0].tolist() == [0.0] * LANES


@pytest.mark.parametrize("powers", EXPONENTS[::20])
def test_mantissa_and_exponent_make_up_the_number(powers):
    x = np.ldexp(1.3, powers.astype(int))
    _, m, k, *_ = evaluated(x)
    assert_close("exact", np.ldexp(m, k.astype(int)), x)
    assert np.all((m >= np.sqrt(0.5)) & (m <= np.sqrt(2.0)))


def test_powers_of_e_are_those_of_the_library():
    x = np.array([0.0, 1e-12, 0.1, 1.0, 5.0, 20.0, 80.0, 0.5])
    assert_close("elementwise", evaluated(x)[3], np.exp(-x), condition=1.0, scale=np.exp(-x) * (1 + x))
    assert evaluated(np.full(LANES, 800.0))[3].tolist() == [0.0] * LANES


@njit
def choices(x, out):
    a, table = get(view(x), 0, 0), view(out)
    put(table, 0, 0, where(a > 2.0, 1.0, where(~(a >= 1.0) | (a == 1.5), -1.0, a)))
    put(table, 1, 0, maximum(a, 1.0) - minimum(1.0, a) / 2.0)
    put(table, 2, 0, -a * splat(3.0) + 1.0)
    return anywhere(a < 0.0), anywhere((a > 0.0) & (a <= 0.25))


def test_each_lane_chooses_for_itself():
    x = np.array([0.25, 0.5, 1.0, 1.25, 1.5, 2.0, 2.5, np.nan])
    out = np.empty((3, 1, LANES))
    assert choices(x.reshape(1, 1, LANES), out) == (False, True)
    assert out[0, 0].tolist() == [-1.0, -1.0, 1.0, 1.25, -1.0, 2.0, 1.0, -1.0]
    with np.errstate(invalid="ignore"):
        want = np.where(x > 1.0, x, 1.0) - np.where(x > 1.0, 1.0, x) / 2
    assert_close("exact", out[1, 0, :7], want[:7])
    assert_close("exact", out[2, 0, :7], 1.0 - 3.0 * x[:7])


@njit
def there_and_back(rows, starts, out, numbers, places):
    space = aligned(16 * LANES)
    lanes_of = tail(view(space), 0, 13 * LANES)
    gather_rows(view(rows), view(starts), 0, lanes_of, 0, (0,) * 13)
    scatter_rows(lanes_of, 0, view(out), view(starts), 0, (0,) * 13)
    drop(pick(part(numbers, 1), view(places), 0, 2) + 1.0, part(numbers, 0), view(places), 0, 1)
    where_it_lies = space.ctypes.data
    keep(space)
    return where_it_lies


def test_rows_and_single_numbers_come_back_from_the_lanes_as_they_were():
    rng = np.random.default_rng(0)
    rows, out = rng.normal(size=20 * 16), np.full(20 * 16, -1.0)
    chosen = rng.permutation(20)[:LANES]
    numbers = rng.integers(0, 100, (2, 20, 3)).astype(np.int32)
    before = numbers.copy()
    address = there_and_back(rows, 16 * chosen[None], out, numbers, chosen[None])
    assert address % 64 == 0
    want = np.full((20, 16), -1.0)
    want[chosen, :13], want[chosen, 13:] = rows.reshape(20, 16)[chosen, :13], 0.0
    assert_close("exact", out.reshape(20, 16), want)
    before[0, chosen, 1] = before[1, chosen, 2] + 1
    np.testing.assert_array_equal(numbers, before)
