"""Why a mixture cannot be reduced: found by compiled code as (code, component), raised by Python."""

import numpy as np

from gmengine.cpu._compile import helper
from gmengine.errors import ArgumentError, NonFiniteError, NotPositiveDefinite

SOUND, NON_FINITE, NOT_DEFINITE, OTHER_SIGN, TWO_SIGNS = range(5)


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
    if code == TWO_SIGNS:
        raise ArgumentError(
            f"reduce: expected n >= 2 for mixture {m}, which has components of both signs, got n = 1"
        )
    if code == OTHER_SIGN:
        which = f"component {i}" if i >= 0 else "a component"
        raise ArgumentError(
            f"apply: expected the signs and absent components for which the plan was made, {which} of "
            f"mixture {m} (batch axes flattened) differs"
        )
    if code == NON_FINITE:
        raise NonFiniteError(f"reduce: expected finite numbers, component [{m}, {i}] has NaN or infinity")
    smallest = np.linalg.eigvalsh(covariances[m, i].astype(np.float64))[0]
    raise NotPositiveDefinite(
        f"reduce: expected positive definite covariances, that of component [{m}, {i}] "
        f"has the smallest eigenvalue {smallest:.3g}"
    )
