"""Why a mixture cannot be reduced by EM: kernels leave the first fault in a word, and here it becomes an exception."""

from __future__ import annotations

from typing import Any

import numpy as np

from gmengine._reduction_errors import reduction_error
from gmengine.cuda._faults import no_fault
from gmengine.deferred import check
from gmengine.errors import NonFiniteError

__all__ = ["no_fault", "raise_faults"]

_KINDS = {1: "not finite", 2: "not definite", 3: "other sign", 4: "two signs"}
MERGED = 5
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
    if code == MERGED:
        return NonFiniteError(
            f"reduce: mixture [{m}] cannot be merged: its moments are beyond float64's range"
        )
    return reduction_error(_KINDS[code], m, i)
