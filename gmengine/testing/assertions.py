"""Comparisons that print what differs, by how much of what was allowed."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from gmengine.autograd.trees import value_of
from gmengine.backend import Array, to_device
from gmengine.mixture import Mixture
from gmengine.testing.tolerances import AGGREGATE, tolerance


def asnumpy(x: Any) -> Any:
    """Return an array, Tensor or Mixture as NumPy array or Mixture of NumPy arrays."""
    if isinstance(x, Mixture):
        return Mixture(*(asnumpy(a) for a in x.arrays))
    x = value_of(x)
    return (
        np.asarray(x) if isinstance(x, np.ndarray | np.generic | float | int | list) else to_device(x, "cpu")
    )


def assert_close(
    kind: str,
    got: Array,
    want: Array,
    *,
    size: int = 1,
    condition: float = 1.0,
    scale: Array | None = None,
    name: str = "values",
) -> None:
    """Assert that two arrays agree as the kind of equality demands.

    Parameters
    ----------
    kind : str
        A key of `gmengine.testing.TOLERANCES`.
    got, want : arrays of one shape
        `want` may be more precise than `got`; the less precise dtype sets the tolerance.
    size, condition : numbers
        Passed to the table.
    scale : array that broadcasts, optional
        What errors are relative to; the largest magnitude in `want`, elementwise ``|want|`` for the kind
        "elementwise".
    name : str
        Named in the message.

    Raises
    ------
    AssertionError
        If one element is off by more than allowed, or (from 16 elements on) the root mean square error
        exceeds `AGGREGATE` of that: a bias everywhere is worse than one rounding somewhere.
    """
    got, want = asnumpy(got), asnumpy(want)
    assert got.shape == want.shape, f"{name}: shape {got.shape} instead of {want.shape}"
    if kind == "exact":
        np.testing.assert_array_equal(got, want, err_msg=name)
        return
    if got.size == 0:
        return
    dtype = max((d for d in (got.dtype, want.dtype) if d.kind == "f"), key=lambda d: np.finfo(d).eps)
    allowed = tolerance(kind, dtype, size, condition)
    want = want.astype(np.float64)
    if scale is None:
        scale = np.abs(want) if kind == "elementwise" else np.max(np.abs(want))
    bound = allowed * np.broadcast_to(np.asarray(asnumpy(scale), np.float64), want.shape)
    error = np.abs(got.astype(np.float64) - want)
    worst = np.unravel_index(np.argmax(np.where(np.isnan(error), np.inf, error - bound)), want.shape)
    if not np.all(error <= bound):
        where = [int(i) for i in worst] or ""
        raise AssertionError(
            f"{name}{where}: {got[worst]!r} instead of {want[worst]!r}: off by {error[worst]:.3g}, allowed "
            f"{bound[worst]:.3g} (kind {kind!r}, {dtype}, size {size}, condition {condition:g})"
        )
    rms, allowed_rms = np.sqrt(np.mean(error**2)), AGGREGATE * np.sqrt(np.mean(bound**2))
    if error.size >= 16 and rms > allowed_rms:
        raise AssertionError(
            f"{name}: root mean square error {rms:.3g}, allowed is {allowed_rms:.3g} (kind {kind!r}, {dtype})"
        )


def assert_mixtures_close(
    kind: str, got: Any, want: Any, *, any_order: bool = False, size: int = 1, condition: float = 1.0
) -> None:
    """Assert that two mixtures have the same components; what absent components hold is ignored.

    Parameters
    ----------
    kind, size, condition
        As for `assert_close`.
    got, want : Mixtures of one shape
        Component by component.
    any_order : bool
        Compare as sets: absent components are dropped, the present ones matched one to one by the
        assignment of least total difference.
    """
    got, want = asnumpy(got), asnumpy(want)
    assert got.batch == want.batch, f"batch {got.batch} instead of {want.batch}"
    if any_order:
        for index in np.ndindex(*want.batch):
            a, b = _present(got[index]), _present(want[index])
            assert a.n_components == b.n_components, (
                f"mixture {index}: {a.n_components} present components instead of {b.n_components}"
            )
            assert_mixtures_close(kind, _matched(a, b), b, size=size, condition=condition)
        return
    assert got.n_components == want.n_components, (
        f"{got.n_components} components instead of {want.n_components}"
    )
    present = want.weights != 0
    np.testing.assert_array_equal(got.weights != 0, present, err_msg="presence of components")
    for field in ("weights", "means", "covariances"):
        a, b = getattr(got, field)[present], getattr(want, field)[present]
        assert_close(kind, a, b, size=size, condition=condition, name=field)


def _present(m: Mixture) -> Mixture:
    keep = m.weights != 0
    return Mixture(m.weights[keep], m.means[keep], m.covariances[keep])


def _matched(m: Mixture, like: Mixture) -> Mixture:
    """Return `m` with its components in the order of the most similar ones of `like`."""
    n = m.n_components
    if n == 0:
        return m
    rows = [
        np.concatenate([x.weights[:, None], x.means, x.covariances.reshape(n, -1)], axis=1) for x in (m, like)
    ]
    cost = np.abs(rows[1][:, None] - rows[0][None]).sum(axis=-1)
    _, order = linear_sum_assignment(cost)
    return Mixture(m.weights[order], m.means[order], m.covariances[order])
