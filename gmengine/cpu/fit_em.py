"""Expectation maximisation (EM) of many samples at once; every sample is a serial piece of work.

With `blurred` every point stands for a small Gaussian of covariance f I, which is a part of the expected log
densities as well as of the covariances C_s = c_s + f I: an EM step never lowers
sum_i v_i log sum_s w_s exp(E_i[log N(x; mu_s, C_s)]). Without, points are points and f I only keeps covariances
from collapsing: a step raises sum_i v_i log sum_s w_s N(x_i; mu_s, C_s) but for what the floor takes, see
`gmengine.fitting.em`.
"""

import numpy as np

from gmengine.cpu._compile import ready, threaded
from gmengine.cpu._fit_parts import gather, write_frame
from gmengine.cpu._fit_step import step


def frames(points, masses, offsets):
    """Return the frame of every sample, (S, K + 3): centre (K), scale, longest side and total mass.

    points (total, K), masses (total,), float64; sample s is points[offsets[s] : offsets[s + 1]]. What counts are
    its points of positive mass. The scale is the power of two that is not below the side, 1 for a single place.
    """
    S, K = len(offsets) - 1, points.shape[1]
    result = np.empty((S, K + 3))
    _frame_all(S, *(ready(a) for a in (points, masses, offsets)), result, (0,) * K)
    return result


def steps(points, masses, offsets, frames, floors, blurred, weights, means, covariances, count, tol):
    """Return (weights, means, covariances, log_likelihood, taken) after at most `count` EM steps.

    The mixtures stand in the frames, their covariances without the floor. A sample stops early when a step has
    raised its log-likelihood by less than `tol`, or has lowered it; tol = 0 takes all steps. A component whose
    mass falls to 1e-300 of the sample's is absent from then on: zeros.

    Parameters
    ----------
    points, masses, offsets, frames
        As for `fit_kmeans.clusters`.
    floors : (S,)
        What is added to every variance, in the caller's squared unit.
    blurred : bool
        Whether the floor is the variance that every point has by itself, and so a part of the densities too.
    weights, means, covariances : (S, N, ...)
        Weights of the present components sum to 1.

    Returns
    -------
    log_likelihood : (S,)
        Mean (with `blurred`: expected) log density of the points per unit of mass, in the caller's unit, as last
        computed: of the result where `tol` stopped the sample, of the mixture before the last step where
        `count` did. NaN without a step and without mass.
    taken : (S,) int32
        Steps.
    """
    S, K = weights.shape[0], points.shape[1]
    outputs = tuple(np.array(a, np.float64, order="C") for a in (weights, means, covariances))
    log_likelihood, taken = np.full(S, np.nan), np.zeros(S, np.int32)
    given = (ready(a) for a in (points, masses, offsets, frames, floors))
    _step_all(S, *given, bool(blurred), *outputs, count, float(tol), log_likelihood, taken, (0,) * K)
    return (*outputs, log_likelihood, taken)


@threaded
def _frame_all(worker, workers, points, masses, offsets, result, dims):
    for s in range(worker, result.shape[0], workers):
        begin, end = offsets[s], offsets[s + 1]
        write_frame(points[begin:end], masses[begin:end], result[s], dims)


@threaded
def _step_all(
    worker,
    workers,
    points,
    masses,
    offsets,
    frames,
    floors,
    blurred,
    weights,
    means,
    covariances,
    count,
    tol,
    log_likelihood,
    taken,
    dims,
):
    K = len(dims)
    for s in range(worker, frames.shape[0], workers):
        begin, end, scale = offsets[s], offsets[s + 1], frames[s, K]
        x, share, index = gather(points[begin:end], masses[begin:end], frames[s], dims)
        if index.size == 0:
            weights[s], means[s], covariances[s] = 0.0, 0.0, 0.0
            continue
        floor, last = floors[s] / scale / scale, -np.inf
        for t in range(count):
            least = last + tol if t > 0 and tol > 0 else -np.inf
            last = step(x, share, weights[s], means[s], covariances[s], floor, blurred, least, dims)
            log_likelihood[s] = last - K * np.log(scale)
            if last < least:
                break
            taken[s] = t + 1
