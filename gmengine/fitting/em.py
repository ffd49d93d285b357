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

    One step computes, in logarithms,

        r_is = w_s d_is / (sum over s),   w'_s = sum_i v_i r_is,   mu'_s = sum_i v_i r_is p_i / w'_s,
        C'_s = S_s + floor I,   S_s = sum_i v_i r_is (p_i - mu'_s) (p_i - mu'_s)^T / w'_s,

    p_i the points and v_i their masses, which sum to 1 here. Total mass, mean and covariance (plus floor I) of
    the points are those of the result. The log-likelihood is L = sum_i v_i log sum_s w_s d_is.

    With `covariance_floor` given, every point is a Gaussian of covariance floor I, and

        log d_is = E_i[log N(x; mu_s, C_s)] = log N(p_i; mu_s, C_s) - floor tr(C_s^-1) / 2.

    C'_s is what maximises the M-step's function: no step lowers L.

    Without, points are points, d_is = N(p_i; mu_s, C_s), and the default floor is only a regulariser, like the
    ``reg_covar`` of scikit-learn. Of all covariances not below floor I, max(l, floor) in place of the eigenvalues l
    of S_s would be the best; l + floor are taken. So a step lowers L, if at all, by no more than

        sum_s w'_s sum_k g(l_sk / floor) / 2,
        g(u) = log((1 + u) / max(u, 1)) + u / (1 + u) - min(u, 1),

    which is about 1 / (2 u^2) where the scatter is far above the floor, 0 where it is 0, and at most 0.25 (at
    u = 0.62): L rises as long as no scatter is near the floor.

    A sample stops early as soon as a step has raised L by less than `tol`. Without `covariance_floor` that may be
    a step that has lowered L by what the floor takes; its mixture is what is returned, L does not choose.

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
        In nats per unit of mass; 0 takes all steps, whether L rises or falls.
    covariance_floor : float or array, shape (S,)
        Variance that every point has by itself; give it to `kmeans` too. By default points have none, and what
        `kmeans` adds by default is added, see above.

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
