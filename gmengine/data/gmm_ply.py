"""Mixtures in text as the paper's authors and the Gaussian Mixture Surface Library exchange them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from gmengine._components import blank_absent
from gmengine.data.formats.ply import Ragged, read_ply, write_ply
from gmengine.errors import ArgumentError, FileFormatError, GmengineError, NonFiniteError, ShapeError
from gmengine.mixture import Mixture

KINDS = {"amplitudes": ".gma.ply", "priors": ".gmm.ply"}
"""What the column ``weight`` holds -> how the file's name ends."""

_COVARIANCE = {
    "covxx": (0, 0),
    "covxy": (0, 1),
    "covxz": (0, 2),
    "covyy": (1, 1),
    "covyz": (1, 2),
    "covzz": (2, 2),
}


def read_gmm_ply(path: str | os.PathLike[str], kind: str | None = None) -> Mixture:
    """Return the mixture of a ``.gma.ply`` or ``.gmm.ply`` file; batch shape (), K = 3.

    Such a file has an element ``component`` with the columns x y z covxx covxy covxz covyy covyz covzz weight; they
    may come in any order, in text or binary, among others that are passed over (such as the normals nvx nvy nvz).

    Parameters
    ----------
    path : path-like
        A file, also gzipped.
    kind : str or None
        What the column ``weight`` holds: ``"amplitudes"``, the peak values a of a exp(-d^T C^-1 d / 2), or
        ``"priors"``, integrals. None: as the name's end says, .gma.ply or .gmm.ply.

    Returns
    -------
    Mixture
        Its weights are integrals in both cases, of amplitudes a sqrt((2 pi)^3 det C). Priors come as they are: their
        sum need not be 1. A weight of 0, with which the authors pad, is an absent component. float32 if all ten
        columns are, else float64.

    Raises
    ------
    ArgumentError
        If `kind` is unknown, or neither it nor the name says what the weights are.
    FileFormatError
        Names the file and the reason: damaged, a column is missing, a number is not finite, a covariance is not
        positive definite.
    OSError
        If the file is missing or cannot be read.
    """
    kind = _kind("read_gmm_ply", path, kind)
    tables = read_ply(path)
    try:
        weights, means, covariances = blank_absent(*_arrays(tables))
        given = Mixture(weights, means, covariances).check()
        if kind == "priors":
            return given
        wide = given.astype(np.float64)
        with np.errstate(over="ignore"):
            return Mixture.from_amplitudes(*wide.arrays).astype(weights.dtype).check()
    except GmengineError as error:
        raise FileFormatError(f"{os.fspath(path)}: {error}") from None


def write_gmm_ply(path: str | os.PathLike[str], mixture: Mixture, kind: str | None = None) -> None:
    """Write a mixture of batch shape () and K = 3 as text that the authors' tools read: whole or not at all.

    Ten columns, two blanks apart, of the type ``float`` or ``double`` after the mixture's dtype; every number
    comes back to the bit. Absent components are written as the authors pad: weight 0, mean 0, covariance I.

    Parameters
    ----------
    path : path-like
        The file's exact name.
    mixture : Mixture
        On any device.
    kind : str or None
        As for `read_gmm_ply`.

    Raises
    ------
    ArgumentError
        As `read_gmm_ply`.
    ShapeError
        If the batch shape is not () or K is not 3.
    NonFiniteError, NotPositiveDefinite
        If a component is no Gaussian, or its amplitude is beyond the dtype.
    OSError
        As `files.atomic_write`.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> file = pathlib.Path(tempfile.mkdtemp(), "ball.gma.ply")
    >>> write_gmm_ply(file, Mixture.isotropic([2.0], [[0.0, 0.0, 1.0]], sigma=0.5))
    >>> read_gmm_ply(file)
    Mixture(batch=(), components=1, dim=3, integral=2, float64, cpu)
    """
    kind = _kind("write_gmm_ply", path, kind)
    if mixture.batch != () or mixture.dim != 3:
        raise ShapeError(
            f"write_gmm_ply: expected one 3-D mixture, got the batch {mixture.batch} in {mixture.dim}-D"
        )
    mixture = mixture.values().to("cpu").check()
    dtype = mixture.dtype
    numbers, means, covariances = blank_absent(*mixture.astype(np.float64).arrays)
    if kind == "amplitudes":
        numbers = Mixture(numbers, means, covariances).amplitudes
    with np.errstate(over="ignore", under="ignore"):
        numbers = numbers.astype(dtype)
    if not np.isfinite(numbers).all():
        index = int(np.isfinite(numbers).argmin())
        raise NonFiniteError(f"write_gmm_ply: the amplitude of component {index} is beyond {dtype}")
    columns = {axis: means[:, i] for i, axis in enumerate("xyz")}
    columns |= {name: covariances[:, i, j] for name, (i, j) in _COVARIANCE.items()}
    table = {name: column.astype(dtype) for name, column in (columns | {"weight": numbers}).items()}
    comments = [f"Gaussian mixture; weights are {kind}"]
    write_ply(path, {"component": table}, text=True, comments=comments, separator="  ")


def _kind(function: str, path: str | os.PathLike[str], kind: str | None) -> str:
    if kind is None:
        name = os.fspath(path).lower().removesuffix(".gz")
        kind = next((k for k, end in KINDS.items() if name.endswith(end)), None)
        if kind is None:
            raise ArgumentError(
                f"{function}: {os.fspath(path)!r} ends neither in .gma.ply nor in .gmm.ply; "
                "say what its weights are, with kind='amplitudes' or kind='priors'"
            )
    if kind not in KINDS:
        raise ArgumentError(f"{function}: expected the kind 'amplitudes' or 'priors', got {kind!r}")
    return kind


def _arrays(tables: Mapping[str, Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the column weight (N,), means (N, 3) and covariances (N, 3, 3)."""
    table = tables.get("component", tables.get("vertex", {}))
    for column in ("x", "y", "z", *_COVARIANCE, "weight"):
        if isinstance(table.get(column), Ragged | None):
            raise FileFormatError(f"no mixture: a component has no number {column!r}")
    used = [table[column] for column in ("x", "y", "z", *_COVARIANCE, "weight")]
    dtype = np.dtype("f4") if all(a.dtype == np.float32 for a in used) else np.dtype("f8")
    means = np.stack([table[axis] for axis in "xyz"], axis=-1, dtype=dtype)
    covariances = np.empty((len(means), 3, 3), dtype)
    for column, (i, j) in _COVARIANCE.items():
        covariances[:, i, j] = covariances[:, j, i] = table[column]
    return table["weight"].astype(dtype), means, covariances
