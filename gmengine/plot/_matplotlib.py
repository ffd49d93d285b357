"""matplotlib, imported when the first picture is drawn."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from gmengine.errors import BackendError


def matplotlib(module: str) -> Any:
    """Return the module ``matplotlib.<module>``, or one that lies beside it, such as ``mpl_toolkits.mplot3d``.

    Raises
    ------
    BackendError
        If matplotlib is missing: says what to install.
    """
    try:
        return import_module(module if "." in module else f"matplotlib.{module}")
    except ImportError:
        raise BackendError("plot: matplotlib is missing: pip install 'gmengine[plot]'") from None
