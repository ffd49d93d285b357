"""Why a mixture cannot be reduced: kernels report the first fault, and here it becomes an exception."""

from __future__ import annotations

from typing import Any

import numpy as np

from gmengine._reduction_errors import reduction_error
from gmengine.cuda._faults import NON_FINITE
from gmengine.deferred import check

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
