"""Where fitted data sets are kept between runs. A cache that does not work costs time, never a result."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

from gmengine.data.dataset import Dataset
from gmengine.data.store import load_dataset, save_dataset
from gmengine.errors import FileFormatError

_log = logging.getLogger("gmengine")


def cache_folder() -> Path | None:
    """Return ``GMENGINE_CACHE_DIR``, or else ``gmengine`` in ``XDG_CACHE_HOME`` or in ``~/.cache``.

    None where there is no home folder either.
    """
    own, shared = os.environ.get("GMENGINE_CACHE_DIR"), os.environ.get("XDG_CACHE_HOME")
    if own:
        return Path(own)
    if shared and os.path.isabs(shared):  # the XDG specification has relative paths ignored
        return Path(shared) / "gmengine"
    try:
        return Path.home() / ".cache" / "gmengine"
    except RuntimeError:
        return None


def cached(file_name: str, make: Callable[[], Dataset], fits: Callable[[Dataset], bool]) -> Dataset:
    """Return the data set in the cache's `file_name` if it `fits`, else `make` it and keep it there.

    A damaged file is replaced; a folder that cannot be read or written is left alone. Both log a warning.
    """
    folder = cache_folder()
    if folder is None:
        _log.warning("no home folder: fitted data are not cached; set GMENGINE_CACHE_DIR")
        return make()
    path = folder / file_name
    found = _read(path, fits)
    if found is not None:
        return found
    dataset = make()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_dataset(path, dataset)
    except OSError as error:
        _log.warning("fitted data are not cached (%s); GMENGINE_CACHE_DIR names another folder", error)
    return dataset


def _read(path: Path, fits: Callable[[Dataset], bool]) -> Dataset | None:
    try:
        dataset = load_dataset(path)
    except FileNotFoundError:
        return None
    except (FileFormatError, OSError) as error:
        _log.warning("cached data are fitted again (%s)", error)
        return None
    if not fits(dataset):
        _log.warning("cached data are fitted again (%s: not what its name says)", path)
        return None
    return dataset
