"""Why a mixture cannot be reduced: kernels report the first fault, and here it becomes an exception."""

from __future__ import annotations

from typing import Any

import numpy as np

from gmengine.cuda._faults import NON_FINITE
from gmengine.deferred import check
from gmengine.errors import ArgumentError, NonFiniteError, NotPositiveDefinite

_NONE = 2**63 - 1  # what `no_fault` begins with
_KINDS = {NON_FINITE: "not finite", 4: "other sign", 5: "two signs"}


def raise_faults(first_fault: Any, n_components: int) -> None:
    """Raise what `report_tree` of tree.cuh has left in `first_fault` (see `deferred.check`)."""

    def judge(found: np.ndarray) -> None:
        if int(found[0]) == _NONE:
            return
        rest, code = divmod(int(found[0]), 8)
        rest, component = divmod(rest, n_components + 1)
        raise reduction_error(_KINDS.get(code, "not definite"), rest // 2, component - 1)

    check(first_fault, judge)


def reduction_error(kind: str, m: int, i: int) -> Exception:
    """Return the exception that says why mixture m cannot be reduced, because of component i (-1: of none alone)."""
    if kind == "two signs":
        return ArgumentError(
            f"reduce: expected n >= 2 for mixture {m}, which has components of both signs, got n = 1"
        )
    if kind == "other sign":
        which = f"component {i}" if i >= 0 else "a component"
        return ArgumentError(
            f"apply: expected the signs and absent components for which the plan was made, {which} of "
            f"mixture {m} (batch axes flattened) differs"
        )
    if kind == "not finite":
        return NonFiniteError(f"reduce: expected finite numbers, component [{m}, {i}] has NaN or infinity")
    return NotPositiveDefinite(
        f"reduce: expected positive definite covariances, that of component [{m}, {i}] is not"
    )
