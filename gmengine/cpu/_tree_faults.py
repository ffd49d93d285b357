"""Why a mixture cannot be reduced: found by compiled code as (code, component), raised by Python."""

import numpy as np

from gmengine._reduction_errors import reduction_error
from gmengine.cpu._compile import helper

SOUND, NON_FINITE, NOT_DEFINITE, OTHER_SIGN, TWO_SIGNS = range(5)
_KINDS = {
    NON_FINITE: "not finite",
    NOT_DEFINITE: "not definite",
    OTHER_SIGN: "other sign",
    TWO_SIGNS: "two signs",
}


@helper
def first_stranger(weights, order, positive):
    """Return (code, component) of the first component whose sign is not the one in the plan."""
    present = 0
    for i in range(weights.shape[0]):
        present += weights[i] != 0.0
    for p in range(order.shape[0]):
        i = order[p]
        if i < 0:
            return SOUND if present == p else OTHER_SIGN, -1
        if weights[i] == 0.0 or (weights[i] > 0.0) != (p < positive):
            return OTHER_SIGN, i
    return SOUND, 0


def raise_first(faults, covariances):
    """Raise what the first faulty row of `faults` (M, 2), a code and a component, stands for."""
    m = int(np.flatnonzero(faults[:, 0])[0])
    code, i = (int(x) for x in faults[m])
    eigenvalue = None
    if code == NOT_DEFINITE:
        eigenvalue = float(np.linalg.eigvalsh(covariances[m, i].astype(np.float64))[0])
    raise reduction_error(_KINDS[code], m, i, eigenvalue)
