"""Data sets by name, for the command line and for configurations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gmengine.data.dataset import Dataset
from gmengine.data.digits import digits
from gmengine.errors import DataError

DATASETS = {"digits": "1,797 handwritten digits of 8 x 8 pixels, part of the package, CC BY 4.0"}
"""The names that `load` knows, each with a line about the data."""

_LOADERS: dict[str, Callable[..., tuple[Dataset, Dataset, Dataset]]] = {"digits": digits}


def load(name: str, **options: Any) -> tuple[Dataset, Dataset, Dataset]:
    """Return the training, validation and test part of the data set `name`.

    Parameters
    ----------
    name : str
        A key of `DATASETS`.
    **options
        Passed on to the data set's own function, e.g. `digits`.

    Raises
    ------
    DataError
        If the name is unknown; lists the known ones.
    """
    if name not in _LOADERS:
        raise DataError(f"load: unknown data set {name!r}; known: {', '.join(sorted(DATASETS))}")
    return _LOADERS[name](**options)
