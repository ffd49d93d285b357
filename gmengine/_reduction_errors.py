"""Why a mixture cannot be reduced, in the same words on every device."""

from __future__ import annotations

from gmengine.errors import ArgumentError, NonFiniteError, NotPositiveDefinite


def reduction_error(kind: str, m: int, i: int, eigenvalue: float | None = None) -> Exception:
    """Return the exception for mixture `m` (batch axes flattened) and component `i` (-1: none alone).

    `kind` is "two signs", "other sign", "not finite" or "not definite"; `eigenvalue` is the smallest one of a
    covariance that is not positive definite, where it is known.
    """
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
    what = "is not" if eigenvalue is None else f"has the smallest eigenvalue {eigenvalue:.3g}"
    return NotPositiveDefinite(
        f"reduce: expected positive definite covariances, that of component [{m}, {i}] {what}"
    )
