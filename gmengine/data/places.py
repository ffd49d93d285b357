"""Where raw data are looked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from gmengine.errors import DataError


def find(
    name: str,
    folder: Path | None,
    usual: Sequence[str | os.PathLike[str]],
    holds: Callable[[Path], bool],
    advice: str,
) -> Path:
    """Return the first existing place for which ``holds(place)``.

    Looked at are `folder` alone if it is given, else ``$GMENGINE_DATA_DIR/<name>``, ``$GMENGINE_DATA_DIR``
    itself, and the `usual` places.

    Raises
    ------
    DataError
        If there is none: says where was looked, and `advice`, such as the command that installs the data.
    """
    if folder is not None:
        places = [Path(folder)]
    else:
        own = os.environ.get("GMENGINE_DATA_DIR")
        places = [*([Path(own, name), Path(own)] if own else []), *(Path(place) for place in usual)]
    for place in places:
        if place.exists() and holds(place):
            return place
    looked = ", ".join(str(place) for place in places) or "GMENGINE_DATA_DIR is not set"
    raise DataError(f"{name}: no data found (looked at: {looked}); {advice}")
