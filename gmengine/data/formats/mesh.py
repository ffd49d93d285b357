"""Triangle meshes, and points drawn from their surface."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Mesh:
    """A triangle mesh: vertices (V, 3) float64, finite; triangles (F, 3) int64, each in [0, V)."""

    vertices: np.ndarray
    triangles: np.ndarray
