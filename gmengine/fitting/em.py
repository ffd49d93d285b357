"""Expectation maximisation of many samples at once."""

from __future__ import annotations

from importlib import import_module

import numpy as np

from gmengine.backend import Array, namespace
from gmengine.errors import ArgumentError, DTypeError, ShapeError
from gmengine.fitting._samples import check_count, check_samples, to_mixture
from gmengine.mixture import Mixture


def em(
    points: Array,
    masses: Array,
    mixture: Mixture,
    *,
    steps: int = 1,
    covariance_floor: Array | float | None = None,
) -> Mixture:
    """Return the mixtures after `steps` steps of expectation maximisation (EM) on weighted points.

    Every point i is a Gaussian of covariance floor I and mass v_i. One step computes, in logarithms,

        r_is = w_s exp(E_i[log N(x; mu_s, C_s)]) / (sum over s),
        E_i[log N(x; mu, C)] = log N(p_i; mu, C) - floor tr(C^-1) / 2,

    and takes the moments of the points weighted by r_is v_i, plus floor I, as the new components. It never
    lowers sum_i v_i log sum_s w_s exp(E_i[log N(x; mu_s, C_s)]). Total mass, mean and covariance (plus
    floor I) of the points are those of the result.

    Parameters
    ----------
    points : array, shape (S, P, K), float32 or float64
        S samples of P points, in any unit.
    masses : array, shape (S, P), dtype of `points`
        Not negative.
    mixture : Mixture, batch (S,), dtype of `points`
        Where to start, e.g. from `kmeans`; weights not negative (only their ratios matter), covariances not
        below the floor.
    steps : int
        Number of steps; 0 only rescales the weights to the sample's mass.
    covariance_floor : float or array, shape (S,)
        As in `kmeans`; give both the same.

    Raises
    ------
    ShapeError, DTypeError, BackendError, NonFiniteError, ArgumentError, NotPositiveDefinite
        As `kmeans`, and for an invalid `mixture`.
    """
    steps = check_count("em", "steps", steps, 0)
    samples, dtype = check_samples("em", points, masses, covariance_floor)
    count, _, dim = samples.points.shape
    if mixture.batch != (count,) or mixture.dim != dim:
        raise ShapeError(f"em: expected a mixture of batch ({count},) in {dim}-D, got {mixture!r}")
    if mixture.dtype != dtype:
        raise DTypeError(f"em: expected one dtype, got points {dtype} and mixture {mixture.dtype}")
    namespace(points, *mixture.values().arrays)
    if (mixture.check().values().weights < 0).any():
        raise ArgumentError("em: expected weights >= 0, got a mixture with negative ones")
    start = tuple(np.array(a, np.float64, order="C") for a in mixture.values().arrays)
    kernel = import_module("gmengine.fitting._kernels").fit
    for part, x, v, floors in samples.pieces():
        no_clustering, labels = np.empty((len(floors), 0, 0)), np.empty(v.shape, np.int32)
        kernel(len(v), x, v, no_clustering, steps, floors, *(a[part] for a in start), labels, samples.dims)
    return to_mixture("em", start, dtype)
