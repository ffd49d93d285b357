"""The mean log-likelihood of weighted points or images under mixtures."""

from __future__ import annotations

import numpy as np

from gmengine.mixture import Mixture
from gmengine.ops.log_density import log_values

_PAIRS = 2**20  # (point, component) pairs at a time: bounds the memory
_NODES = np.sqrt(0.6) * np.array([-0.5, 0.0, 0.5])  # Gauss-Legendre on [-1/2, 1/2], exact to degree 5
_NODE_MASSES = np.array([5.0, 8.0, 5.0]) / 18.0


def mean_log_likelihood(op: str, mixture: Mixture, points: np.ndarray, masses: np.ndarray) -> float:
    """Return sum_i v_i log(f(x_i) / integral of f) / sum_i v_i of one mixture at points (P, K), masses (P,).

    NaN if there is no mass, -inf if there is mass but no present component.
    """
    points, masses = points[masses > 0], masses[masses > 0]
    if not len(points):
        return float("nan")
    present = mixture.weights != 0
    if not present.any():
        return -float("inf")
    m = Mixture(*(a[present] for a in mixture.arrays))
    step = max(1, _PAIRS // m.n_components)
    total = 0.0
    for begin in range(0, len(points), step):
        part = slice(begin, begin + step)
        total += float(masses[part] @ log_values(op, m, points[part]))
    return total / float(masses.sum()) - float(np.log(m.weights.sum()))


def pixel_nodes(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return points (9 P, 2) and masses (9 P,): every pixel above 0 as a square of uniform density.

    Pixel (r, c) is the unit square about x = c, y = r; three Gauss-Legendre nodes along each of its sides carry
    its intensity.
    """
    rows, columns = np.nonzero(image)
    offsets = np.stack(np.meshgrid(_NODES, _NODES, indexing="ij"), axis=-1).reshape(-1, 2)
    centres = np.stack([columns, rows], axis=-1).astype(np.float64)
    points = centres[:, None] + offsets
    masses = image[rows, columns][:, None] * np.outer(_NODE_MASSES, _NODE_MASSES).ravel()
    return points.reshape(-1, 2), masses.reshape(-1)
