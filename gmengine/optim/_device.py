"""Where an update is computed: on a GPU by one kernel per parameter, elsewhere by array functions."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

import array_api_compat

from gmengine.backend import Array, kernels, namespace


def cuda_house(name: str, *trees: Mapping[str, Array]) -> ModuleType | None:
    """Return ``gmengine.cuda.<name>`` if the arrays of these dicts are CuPy's, else None.

    Raises
    ------
    BackendError
        If they belong to different libraries.
    """
    arrays = [array for tree in trees for array in tree.values()]
    if not arrays or not array_api_compat.is_cupy_namespace(namespace(*arrays)):
        return None
    return kernels(name, *arrays)
