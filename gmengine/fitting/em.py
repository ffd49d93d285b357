"""Expectation maximisation of many samples at once."""

from __future__ import annotations

from typing import Any

import numpy as np

from gmengine.backend import Array, namespace
from gmengine.errors import ArgumentError, DTypeError, ShapeError
from gmengine.fitting._checks import check_count, first_false, to_mixture
from gmengine.fitting._frame import Moments
from gmengine.fitting._methods import fit_sets, fitter
from gmengine.fitting._samples import check_samples
from gmengine.fitting._sets import Piece
from gmengine.mixture import Mixture


def em(
    points: Array,
    masses: Array,
    mixture: Mixture,
    *,
    steps: int = 1,
    tol: float = 0.0,
    covariance_floor: Array | float | None = None,
) -> Mixture:
    """Return the mixtures after `steps` steps of expectation maximisation (EM) on weighted points.

    A sample stops earlier when a step has raised its mean log-likelihood by less than `tol`. Every point i is a
    Gaussian of covariance floor I and mass v_i. One step computes, in logarithms,

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
    tol : float
        In nats per unit of mass; 0 takes all steps.
    covariance_floor : float or array, shape (S,)
        As in `kmeans`; give both the same.

    Raises
    ------
    ShapeError, DTypeError, BackendError, NonFiniteError, ArgumentError, NotPositiveDefinite
        As `kmeans`, and for an invalid `mixture`.
    """
    steps = check_count("em", "steps", steps, 0)
    fitter("em", "kmeans+em", tol=tol)
    samples, dtype = check_samples("em", points, masses, covariance_floor)
    count, dim = len(samples), samples.points.shape[1]
    if mixture.batch != (count,) or mixture.dim != dim:
        raise ShapeError(f"em: expected a mixture of batch ({count},) in {dim}-D, got {mixture!r}")
    if mixture.dtype != dtype:
        raise DTypeError(f"em: expected one dtype, got points {dtype} and mixture {mixture.dtype}")
    namespace(points, *mixture.values().arrays)
    if first_false(mixture.check().values().weights >= 0) is not None:
        raise ArgumentError("em: expected weights >= 0, got a mixture with negative ones")
    xp = namespace(samples.points)
    start = tuple(xp.astype(a, xp.float64) for a in mixture.values().arrays)
    done = 0

    def fit(piece: Piece, n: int, _: Any) -> Moments:
        nonlocal done
        part = slice(done, done + len(piece))
        done += len(piece)
        weights, means, covariances = (a[part] for a in start)
        return piece.leave(piece.steps(piece.enter((weights, means, covariances)), steps, float(tol)))

    moments = fit_sets("em", samples, mixture.n_components, fit, np.random.default_rng(0))
    return to_mixture("em", moments, dtype)
