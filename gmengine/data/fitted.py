"""Mixtures of a data set by its name, fitted once and kept in the cache."""

from __future__ import annotations

import dataclasses
import logging
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gmengine.data._manifest import STORE, Manifest, is_store
from gmengine.data.build import Progress, build, fit_options, manifest_of
from gmengine.data.cache import cache_folder
from gmengine.data.catalogue import names_data_set, parse_spec
from gmengine.data.dataset import Dataset
from gmengine.data.digits import digits
from gmengine.data.raw import RawData, file_name
from gmengine.data.shards import Store, open_store
from gmengine.data.split import FRACTIONS, SPLIT_SEED, split
from gmengine.data.store import load_dataset
from gmengine.errors import ArgumentError, DataError, FileFormatError

_DEFAULT: dict[str, Any] = {"method": "kmeans+em", "steps": None, "init": "kmeans++", "tol": None}
FIT_OPTIONS = frozenset({*_DEFAULT, "seed", "read"})
"""What `fitted` can be told about the fit."""
Parts = tuple[Dataset, Dataset, Dataset]

_log = logging.getLogger("gmengine")


def fitted(
    spec: str,
    components: int,
    *,
    method: str = "kmeans+em",
    steps: int | None = None,
    init: str = "kmeans++",
    tol: float | None = None,
    seed: int = 0,
    dtype: Any = "float32",
    read: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Parts:
    """Return a data set as mixtures: the training, validation and test part.

    They are fitted by `build` at the first call, and from then on taken from the cache (see `cache_folder`), as
    long as neither the raw data nor the options change. An interrupted fit goes on with the next call.

    Parameters
    ----------
    spec : str
        The name of a data set (`DATASETS`), or ``name:folder`` where its raw data lie elsewhere.
    components : int
        N, of every mixture.
    method, steps, init, tol, seed, dtype
        Of the fit, see `build`.
    read : mapping, optional
        Options of the data set's reader, see `Entry.options`; they may have a seed of their own.
    progress : callable, optional
        As of `build`; is called with a total of 0 before raw data are read.

    Returns
    -------
    train, valid, test : Dataset
        Mixtures of batch (n, 1).

    Raises
    ------
    DataError
        If the data set is unknown, or its raw data are missing: says the command that makes them available.
    ArgumentError
        If an option is unknown or out of range.
    OSError
        If the disk is full.
    """
    how: dict[str, Any] = {"method": method, "steps": steps, "init": init, "tol": tol}
    if spec == "digits" and not read and fit_options(how) == fit_options(_DEFAULT):
        return digits(components, dtype=dtype, seed=seed)
    raw = RawData(spec, read)
    if progress is not None and not raw.is_known:
        progress(0, 0, 0.0)

    def make(place: Path) -> Store:
        return build(raw.collection(), components, place, seed=seed, dtype=dtype, progress=progress, **how)

    place = kept_store(raw, components, how, seed, dtype)
    if place is None:
        with tempfile.TemporaryDirectory(prefix="gmengine-") as lost:
            return make(Path(lost)).load()
    return _loaded(place, make)


def load(source: str, components: int = 32, *, dtype: Any = "float32", **options: Any) -> Parts:
    """Return the training, validation and test part of anything that a network can be trained on.

    Parameters
    ----------
    source : str
        The name of a data set or ``name:folder``, which are `fitted`; the folder of a store (`open_store`); or
        a .npz file of `save_dataset`, which is split 70/10/20 class by class.
    components : int
        N, where mixtures are yet to be fitted; those of a store or a file are what they are.
    dtype : dtype
        float32 or float64.
    **options
        Passed on to `fitted`. A store or a file takes none but `progress`.

    Raises
    ------
    DataError
        If the data set is unknown, or there is no store.
    ArgumentError
        If options are given for a store or a file.
    FileFormatError, OSError
        If a file is damaged or cannot be read.
    """
    if names_data_set(source):
        return fitted(source, components, dtype=dtype, **options)
    options.pop("progress", None)
    if options:
        raise ArgumentError(
            f"{source}: its mixtures are fitted already; {', '.join(options)} cannot be chosen"
        )
    if source.endswith(".npz"):
        whole = load_dataset(source)
        train, valid, test = (whole[index] for index in split(whole.labels, FRACTIONS, SPLIT_SEED))
    elif is_store(source):
        train, valid, test = open_store(source).load()
    else:
        raise unknown(source)
    return _as(train, dtype), _as(valid, dtype), _as(test, dtype)


def unknown(source: str) -> DataError:
    """Return the error of a source that is none."""
    if os.path.isdir(source):
        return DataError(f"{source}: no store of mixtures there; raw data are named as in images:{source}")
    try:
        parse_spec(source)
    except DataError as error:
        return DataError(f"{error}, and the folders of stores and files *.npz")
    raise AssertionError("it is known")


def _as(dataset: Dataset, dtype: Any) -> Dataset:
    return dataclasses.replace(dataset, mixtures=dataset.mixtures.astype(dtype))


def kept_store(raw: RawData, components: int, how: Mapping[str, Any], seed: int, dtype: Any) -> Path | None:
    """Return where in the cache the store of such fits is, or would be; None, with a warning, if nowhere.

    The folder's name says what counts, to people and by a checksum of everything.
    """
    manifest = manifest_of(raw.summary, components, how, seed, dtype)
    words = (raw.name, how["method"], f"n{components}", f"seed{seed}", manifest.identity[:16])
    cache = cache_folder()
    try:
        if cache is None:
            raise OSError("no home folder")
        (cache / "stores").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _log.warning("fitted data are not kept (%s); GMENGINE_CACHE_DIR names another folder", error)
        return None
    return cache / "stores" / file_name("-".join(words))


def _loaded(place: Path, make: Callable[[Path], Store]) -> Parts:
    try:
        return open_store(place).load()
    except DataError:  # there is none, or it is not finished
        return make(place).load()
    except FileFormatError as error:
        _log.warning("fitted again: %s", error)
    try:
        Manifest.read(place)
    except FileFormatError:
        (place / STORE).unlink()  # every shard says itself what it belongs to
    return make(place).load()
