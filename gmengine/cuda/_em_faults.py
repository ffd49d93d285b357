"""Why a mixture cannot be reduced by EM: kernels leave the first fault in a word, and here it becomes an exception."""

from __future__ import annotations

from typing import Any

import numpy as np

from gmengine.cuda._faults import no_fault
from gmengine.deferred import check
from gmengine.errors import ArgumentError, NonFiniteError, NotPositiveDefinite

__all__ = ["no_fault", "raise_faults"]

NON_FINITE, NOT_DEFINITE, OTHER_SIGN, TWO_SIGNS, MERGED = 1, 2, 3, 4, 5
_NONE = 2**63 - 1
_STAGE = 2**60


def raise_faults(first_fault: Any, n_components: int) -> None:
    """Raise what `report_fault` has left, if anything, as `gmengine.cpu` does (see `deferred.check`)."""

    def judge(found: np.ndarray) -> None:
        if int(found[0]) == _NONE:
            return
        place, code = divmod(int(found[0]) % _STAGE, 8)
        m, i = divmod(place, n_components + 1)
        raise _error(code, m, i - 1)

    check(first_fault, judge)


def _error(code: int, m: int, i: int) -> Exception:
    if code == TWO_SIGNS:
        return ArgumentError(
            f"reduce: expected n >= 2 for mixture {m}, which has components of both signs, got n = 1"
        )
    if code == OTHER_SIGN:
        which = f"component {i}" if i >= 0 else "a component"
        return ArgumentError(
            f"apply: expected the signs and absent components for which the plan was made, {which} of "
            f"mixture {m} (batch axes flattened) differs"
        )
    if code == MERGED:
        return NonFiniteError(
            f"reduce: mixture [{m}] cannot be merged: its moments are beyond float64's range"
        )
    if code == NON_FINITE:
        return NonFiniteError(f"reduce: expected finite numbers, component [{m}, {i}] has NaN or infinity")
    return NotPositiveDefinite(
        f"reduce: expected positive definite covariances, that of component [{m}, {i}] is not"
    )
