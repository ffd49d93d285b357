"""How far points drawn from a mixture lie from the points that it was fitted to, and the other way round."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

import numpy as np

from gmengine.fitting.clouds import Clouds
from gmengine.mixture import Mixture
from gmengine.ops.sample import sample


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """Distances between the points x_i, masses v_i, and R samples y_j drawn from each mixture (Eckart et al. 2016).

    With a_j = min_i |y_j - x_i| (out: do samples stray?), b_i = min_j |x_i - y_j| (back: is a point missed?) and the
    diagonal D of the points' box, all arrays (S,), in units of the points, NaN where there are no points or no
    component:

    rmsd, rmsd_back : sqrt(mean_j a_j^2), sqrt(sum_i v_i b_i^2 / sum_i v_i)
    mean, mean_back : mean_j a_j, sum_i v_i b_i / sum_i v_i
    hausdorff : max(max_j a_j, max_i b_i)
    chamfer : mean + mean_back
    coverage : share of the mass in points that are the nearest of at least one sample; it grows with R
    psnr : 20 log10(D / rmsd) in decibels; infinite if rmsd is 0

    Distances of samples are never 0: n points drawn from a surface by chance are themselves apart. Compare numbers
    of the same R and the same number of points only.
    """

    samples: int
    rmsd: np.ndarray
    rmsd_back: np.ndarray
    mean: np.ndarray
    mean_back: np.ndarray
    hausdorff: np.ndarray
    chamfer: np.ndarray
    coverage: np.ndarray
    psnr: np.ndarray


def reconstruction(
    mixture: Mixture, clouds: Clouds, masses: np.ndarray, samples: int, rng: np.random.Generator
) -> Reconstruction:
    """Return the distances of mixtures of batch (S,); masses (total,) of points that exist are positive."""
    rows = np.full((8, len(clouds)), np.nan)
    nearest = import_module("gmengine.cpu._nearest").nearest  # Numba comes with the first report
    for s in range(len(clouds)):
        x, v = clouds.one(s), masses[clouds.offsets[s] : clouds.offsets[s + 1]]
        x, v = x[v > 0], v[v > 0]
        if not len(x) or not mixture.weights[s].any():
            continue
        y = sample(mixture[s], samples, rng)
        of_points, of_samples = np.array([0, len(x)]), np.array([0, samples])
        out, hits = nearest(y, of_samples, x, of_points)
        back, _ = nearest(x, of_points, y, of_samples)
        share = v / v.sum()
        rmsd = float(np.sqrt(np.mean(out**2)))
        diagonal = float(np.linalg.norm(x.max(0) - x.min(0)))
        mean, mean_back = float(out.mean()), float(share @ back)
        rows[:, s] = (
            rmsd,
            np.sqrt(share @ back**2),
            mean,
            mean_back,
            max(out.max(), back.max()),
            mean + mean_back,
            share[np.unique(hits)].sum(),
            _decibels(diagonal, rmsd),
        )
    return Reconstruction(samples, *rows)


def _decibels(peak: float, error: float) -> float:
    """20 log10(peak / error); infinite without an error, -infinite without a peak."""
    with np.errstate(divide="ignore"):
        return float("inf") if error == 0 else float(20.0 * np.log10(np.float64(peak) / error))
