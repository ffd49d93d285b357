"""Why a mixture cannot be reduced: kernels report the first fault, and here it becomes an exception."""

from __future__ import annotations

from typing import Any

import numpy as np

from gmengine.cuda._faults import NON_FINITE
from gmengine.deferred import check
from gmengine.errors import ArgumentError, NonFiniteError, NotPositiveDefinite

_NONE = 2**63 - 1  # what `no_fault` begins with
_OTHER_SIGN, _TWO_SIGNS = 4, 5


def raise_faults(first_fault: Any, n_components: int) -> None:
    """Raise what `report_tree` of tree.cuh has left in `first_fault` (see `deferred.check`)."""

    def judge(found: np.ndarray) -> None:
        if int(found[0]) == _NONE:
            return
        rest, code = divmod(int(found[0]), 8)
        rest, component = divmod(rest, n_components + 1)
        _raise(code, rest // 2, component - 1)

    check(first_fault, judge)


def _raise(code: int, m: int, i: int) -> None:
    if code == _TWO_SIGNS:
        raise ArgumentError(
            f"reduce: expected n >= 2 for mixture {m}, which has components of both signs, got n = 1"
        )
    if code == _OTHER_SIGN:
        which = f"component {i}" if i >= 0 else "a component"
        raise ArgumentError(
            f"apply: expected the signs and absent components for which the plan was made, {which} of "
            f"mixture {m} (batch axes flattened) differs"
        )
    if code == NON_FINITE:
        raise NonFiniteError(f"reduce: expected finite numbers, component [{m}, {i}] has NaN or infinity")
    raise NotPositiveDefinite(
        f"reduce: expected positive definite covariances, that of component [{m}, {i}] is not"
    )
