"""Components that are no Gaussians: kernels report the first one, and here it becomes an exception."""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from gmengine.deferred import check
from gmengine.errors import NonFiniteError, NotPositiveDefinite

NON_FINITE, NOT_DEFINITE, OVERFLOW_OF_DTYPE = 1, 2, 3
_NONE = 2**63 - 1


def no_fault() -> Any:
    """Return the (1,) int64 in which kernels leave ``4 (m N + n) + code`` of the first faulty component."""
    return cupy.full(1, _NONE, dtype=cupy.int64)


def raise_faults(op: str, first_fault: Any, n_components: int) -> None:
    """Raise NonFiniteError or NotPositiveDefinite if a kernel has reported a component (see `deferred.check`)."""

    def judge(found: np.ndarray) -> None:
        if int(found[0]) == _NONE:
            return
        component, code = divmod(int(found[0]), 4)
        where = list(divmod(component, n_components))
        if code == NOT_DEFINITE:
            raise NotPositiveDefinite(f"{op}: covariance of component {where} is not positive definite")
        if code == NON_FINITE:
            raise NonFiniteError(f"{op}: component {where} has a number that is not finite")
        raise NonFiniteError(
            f"{op}: component {where} is too narrow: its value at its mean, or its precision, "
            "is beyond the range of the dtype"
        )

    check(first_fault, judge)
