"""The .cu files as text, and the compiler options that specialise them. Needs neither CuPy nor a GPU."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
REAL = {"float32": "float", "float64": "double"}
FILES = tuple(sorted(path.stem for path in HERE.glob("*.cu")))
"""The files that hold kernels."""
DEFINES: dict[str, dict[str, int]] = {"tree_hem": {"per_node": 2, "staged": 0}}
"""Macros that a file wants beyond dimension and dtype, and a usual value: so that it compiles by itself."""


@cache
def source(name: str) -> str:
    """Return the text of ``<name>.cu``."""
    return (HERE / f"{name}.cu").read_text(encoding="utf-8")


def options(dim: int, dtype: str, **defines: int) -> tuple[str, ...]:
    """Return the options that compile a file for K = `dim` and one dtype, ``float32`` or ``float64``.

    Every one of `defines` becomes ``-DGM_<NAME>=<value>``. The digest of the headers is among the options because
    CuPy's disk cache keys on the source and the options, not on what the source includes.
    """
    named = tuple(f"-DGM_{name.upper()}={value}" for name, value in sorted(defines.items()))
    return (
        "-std=c++17",
        f"-I{HERE}",
        f"-DGM_DIM={dim}",
        f"-DGM_REAL={REAL[dtype]}",
        f"-DGM_HEADERS={_digest_of_headers()}",
        *named,
    )


@cache
def _digest_of_headers() -> str:
    text = b"".join(path.read_bytes() for path in sorted(HERE.glob("*.cuh")))
    return "0x" + hashlib.sha256(text).hexdigest()[:12]
