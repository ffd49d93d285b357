"""What the fits are made of: how they are compiled, and the frame in which a sample is worked on.

A sample is moved to its own box's centre and scaled by a power of two to a box of side at most 1: numbers far
from 0 lose nothing, tolerances are relative, and results scale exactly with powers of two. Whatever fits hand
to each other stands in that frame; only `gmengine.fitting` goes in and out.

Loops stand in place of array expressions because they compile in a fraction of the time. `dims` is a tuple of
K zeros: its length is a compile-time constant.
"""

import math
from typing import Any

import numpy as np
from numba import njit

EPS = 2.220446049250313e-16
TIE = 64 * EPS  # numbers that differ by less, relatively, count as equal

# No fastmath, said aloud because Numba hands a caller's flags down: LLVM keeps a scalar loop beside each
# vectorised one and chooses by the arrays' addresses, so that regrouped sums would differ from call to call.
# Python never calls these parts: leaving out their wrappers saves a quarter of the time to compile.
_OPTIONS: dict[str, Any] = {"fastmath": False, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
exact = njit(error_model="numpy", **_OPTIONS)


@exact
def _power_above(x):
    """Return the power of two that is not below x > 0; x itself where it is infinite."""
    if x == np.inf:
        return x
    part, exponent = math.frexp(x)
    return math.ldexp(1.0, exponent - 1 if part == 0.5 else exponent)


@exact
def write_frame(points, masses, frame, dims):
    """Write [centre (K), scale, longest side, total mass] of the points of positive mass."""
    K = len(dims)
    side, total, count = 0.0, 0.0, 0
    for i in range(masses.size):
        if masses[i] > 0:
            total += masses[i]
            count += 1
    for k in range(K):
        low, high = np.inf, -np.inf
        for i in range(masses.size):
            if masses[i] > 0:
                low, high = min(low, points[i, k]), max(high, points[i, k])
        frame[k] = 0.5 * low + 0.5 * high if count > 0 else 0.0
        side = max(side, high - low) if count > 0 else 0.0
    frame[K] = _power_above(side) if side > 0 else 1.0
    frame[K + 1] = side
    frame[K + 2] = total


@exact
def gather(points, masses, frame, dims):
    """Return the points of positive mass in the frame (K, count), their shares of the mass, and their indices."""
    K = len(dims)
    count = 0
    for i in range(masses.size):
        count += masses[i] > 0
    index = np.empty(count, np.int64)
    count = 0
    for i in range(masses.size):
        if masses[i] > 0:
            index[count] = i
            count += 1
    x = np.empty((K, index.size))  # one row per axis: loops over points vectorise
    share = np.empty(index.size)
    for j in range(index.size):
        share[j] = masses[index[j]] / frame[K + 2]
        for k in range(K):
            x[k, j] = (points[index[j], k] - frame[k]) / frame[K]
    return x, share, index


@exact
def dot(a, b):
    """Sum the products in four strands, whose order is fixed and which run side by side."""
    s0, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0
    whole = a.size - a.size % 4
    for i in range(0, whole, 4):
        s0 += a[i] * b[i]
        s1 += a[i + 1] * b[i + 1]
        s2 += a[i + 2] * b[i + 2]
        s3 += a[i + 3] * b[i + 3]
    for i in range(whole, a.size):
        s0 += a[i] * b[i]
    return (s0 + s1) + (s2 + s3)
