"""The one table of tolerances: a test names the kind of equality it expects, dtype and size do the rest."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

import numpy as np

from gmengine.errors import ArgumentError

TOLERANCES: dict[str, Callable[[float, int, float], float]] = {
    # The same operations in the same order: bits agree.
    "exact": lambda eps, size, condition: 0.0,
    # A fixed, short chain of roundings per element, no cancellation.
    "elementwise": lambda eps, size, condition: 8 * eps,
    # A sum of `size` terms, relative to the sum of their magnitudes (errors of a long sum average out).
    "sum": lambda eps, size, condition: 4 * (4 + sqrt(size)) * eps,
    # A quadratic form in an inverse covariance, taken as |L^-1 d|^2: the rounding of L^-1 d carries the
    # condition number of L, which is the square root of that of C.
    "solve": lambda eps, size, condition: 4 * (4 + sqrt(size) + sqrt(condition)) * eps,
    # Derivatives of "solve", which multiply by C^-1 once more.
    "gradient": lambda eps, size, condition: 8 * (4 + sqrt(size) + sqrt(condition)) * eps,
    # Moments that a merge conserves in exact arithmetic, relative to the moments of |w|.
    "moments": lambda eps, size, condition: 8 * (8 + sqrt(size)) * eps,
    # A discretised integral of smooth functions.
    "quadrature": lambda eps, size, condition: 1e-9 if eps < 1e-10 else 1e-4,
    # Numbers written down by another float64 implementation with clips of its own.
    "golden": lambda eps, size, condition: 1e-9,
}
"""kind -> f(eps of the dtype, number of terms, condition number) -> relative error of one element."""

AGGREGATE = 0.35
"""Root mean square error allowed, as a fraction of the error allowed for one element: with AVX-512 all tests pass
at 0.25, and the rest is for processors that round sums in another order."""


def tolerance(kind: str, dtype: object, size: int = 1, condition: float = 1.0) -> float:
    """Return the relative error allowed for one element of `dtype`.

    Parameters
    ----------
    kind : str
        A key of `TOLERANCES`.
    dtype : dtype
        float32 or float64: the less precise of the two sides.
    size : int
        Number of terms that were summed.
    condition : float
        Largest condition number of a covariance.

    Raises
    ------
    ArgumentError
        If the kind is not in the table.
    """
    if kind not in TOLERANCES:
        raise ArgumentError(f"tolerance: expected one of {sorted(TOLERANCES)}, got {kind!r}")
    return TOLERANCES[kind](float(np.finfo(np.dtype(str(dtype))).eps), size, condition)
