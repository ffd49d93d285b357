"""What `reduce` should give with the methods "em" and "hem": the same steps of EM as loops over lists.

Shares no code with the package, and no cleverness: every pair is looked at by itself.
"""

from __future__ import annotations

from math import ceil, exp, floor, log, pi
from typing import Any

import numpy as np

from gmengine.testing.tree_oracle import morton

TIES = 64
"""Two numbers closer than this many epsilons of the input's dtype are equal: the lower index wins."""

VIRTUAL_POINTS = 20
"""Of "em". Of "hem" it is one for each component of the mixture."""

REDUCTION = 3
"""Every level of hierarchical EM has a third of the components of the one before it."""

ALPHA = 2.0
"""A component may join parents whose Kullback-Leibler divergence is at most ALPHA^2 / 2, and the nearest."""

Gaussian = tuple[float, Any, Any]
Triple = tuple[Any, Any, Any]


def em(
    weights: Any, means: Any, covariances: Any, n: int, *, held: Any = None, smallest_sum: float = 0.0
) -> Triple:
    """Return one mixture reduced to `n` components by one step of EM from its heaviest ones.

    held : the mixture, a `Triple`, whose values stand for this one's in the likelihoods, if not its own: what the
        original differentiates.
    smallest_sum : the original's lower bound of the sums by which shares are divided; loses mass where it acts.
    """
    given, eps = _listed(weights, means, covariances), float(np.finfo(weights.dtype).eps)
    if len(given) <= n:
        return _stacked(given, n, means.shape[-1])
    reps = _heaviest([g[0] for g in given], n, eps)
    powers = _log_powers(given if held is None else _listed(*held), reps, VIRTUAL_POINTS)
    return _stacked(_step(given, reps, powers, smallest_sum), n, means.shape[-1])


def hem(weights: Any, means: Any, covariances: Any, n: int) -> Triple:
    """Return one mixture reduced to `n` components by hierarchical EM."""
    given, eps = _listed(weights, means, covariances), float(np.finfo(weights.dtype).eps)
    points = len(given)
    while len(given) > n:
        given = [given[i] for i in _along_the_curve(given, eps)]
        reps = _parents(given, max(n, ceil(len(given) / REDUCTION)), eps)
        powers = _log_powers(given, reps, points)
        for g, row in zip(given, powers, strict=True):
            divergences = [_divergence(g, given[s]) for s in reps]
            nearest = _first_smallest(divergences, eps)
            for s, divergence in enumerate(divergences):
                if divergence > ALPHA**2 / 2 * (1 + TIES * eps) and s != nearest:
                    row[s] = -np.inf
        given = _step(given, reps, powers, 0.0)
    return _stacked(given, n, means.shape[-1])


def _listed(weights: Any, means: Any, covariances: Any) -> list[Gaussian]:
    live = [i for i, w in enumerate(weights) if w != 0]
    return [(float(weights[i]), means[i].astype(float), covariances[i].astype(float)) for i in live]


def _stacked(given: list[Gaussian], n: int, dim: int) -> Triple:
    w, mu, cov = np.zeros(n), np.zeros((n, dim)), np.zeros((n, dim, dim))
    for s, (a, b, c) in enumerate(given):
        w[s], mu[s], cov[s] = a, b, c
    return w, mu, cov


# --- one step -----------------------------------------------------------------------------------------------


def _log_likelihood(g: Gaussian, parent: Gaussian) -> float:
    """Return the mean over x ~ g of log N(x; parent)."""
    p, d = np.linalg.inv(parent[2]), g[1] - parent[1]
    log_det = float(np.linalg.slogdet(parent[2])[1])
    return -0.5 * (len(d) * log(2 * pi) + log_det + float(d @ p @ d) + float(np.trace(p @ g[2])))


def _divergence(g: Gaussian, parent: Gaussian) -> float:
    """Return KL(g || parent), infinite between unequal signs."""
    return _log_likelihood(g, g) - _log_likelihood(g, parent) if g[0] * parent[0] > 0 else np.inf


def _log_powers(given: list[Gaussian], reps: list[int], points: int) -> list[list[float]]:
    """Return V wh_i E_i[log N_s] for every component and parent, -inf between unequal signs."""
    samples = [points * abs(g[0]) / sum(abs(h[0]) for h in given) for g in given]
    return [
        [v * _log_likelihood(g, given[s]) if g[0] * given[s][0] > 0 else -np.inf for s in reps]
        for v, g in zip(samples, given, strict=True)
    ]


def _step(
    given: list[Gaussian], reps: list[int], powers: list[list[float]], smallest_sum: float
) -> list[Gaussian]:
    """Return the moment matches of what each parent takes (paper eq. 15 and 16)."""
    prior = sum(abs(given[s][0]) for s in reps)
    shares = []
    for row in powers:
        scores = [log(abs(given[s][0]) / prior) + power for s, power in zip(reps, row, strict=True)]
        top = max(scores)
        terms = [exp(z - top) for z in scores]
        least = smallest_sum * exp(-top) if smallest_sum else 0.0
        shares.append([t / max(sum(terms), least) for t in terms])
    out = []
    for s, rep in enumerate(reps):
        rho = [r[s] * abs(g[0]) for r, g in zip(shares, given, strict=True)]
        w = sum(rho)
        start = given[rep][1]  # coincident means stay so, exactly
        mean = start + sum(a * (g[1] - start) for a, g in zip(rho, given, strict=True)) / w
        spread = sum(a * (g[2] + np.outer(g[1] - mean, g[1] - mean)) for a, g in zip(rho, given, strict=True))
        out.append((w if given[rep][0] > 0 else -w, mean, spread / w))
    return out


# --- em: representatives ------------------------------------------------------------------------------------


def _heaviest(weights: list[float], n: int, eps: float) -> list[int]:
    """Return the `n` heaviest, positive ones first, heaviest first; the last gives way if a sign would have none."""
    left, chosen = list(range(len(weights))), []
    for _ in range(n):
        chosen.append(left.pop(_first_smallest([-abs(weights[i]) for i in left], eps)))
    for sign in (1, -1):
        own = [i for i in range(len(weights)) if weights[i] * sign > 0]
        if own and not set(own) & set(chosen):
            chosen[-1] = own[_first_smallest([-abs(weights[i]) for i in own], eps)]
    return [i for i in chosen if weights[i] > 0] + [i for i in chosen if weights[i] < 0]


def _first_smallest(values: list[float], eps: float) -> int:
    best = min(values)
    return next(i for i, v in enumerate(values) if v <= best + TIES * eps * abs(best))


# --- hem: parents -------------------------------------------------------------------------------------------


def _along_the_curve(given: list[Gaussian], eps: float) -> list[int]:
    """Return the indices of the positive components in Morton order, then those of the negative ones."""
    codes = morton(np.array([g[1] for g in given]), eps)
    return sorted(range(len(given)), key=lambda i: (given[i][0] < 0, codes[i], i))


def _parents(given: list[Gaussian], number: int, eps: float) -> list[int]:
    """Return `number` positions along the curve, shared by the signs in proportion to their mass."""
    mass = [abs(g[0]) for g in given]
    positive = [p for p, g in enumerate(given) if g[0] > 0]
    negative = [p for p, g in enumerate(given) if g[0] < 0]
    if not positive or not negative:
        return _quantiles(mass, positive or negative, number, eps)
    part = sum(mass[p] for p in positive) / sum(mass)
    share = floor(number * part + 0.5 + TIES * eps * number)
    share = min(max(share, 1, number - len(negative)), number - 1, len(positive))
    return _quantiles(mass, positive, share, eps) + _quantiles(mass, negative, number - share, eps)


def _quantiles(mass: list[float], own: list[int], number: int, eps: float) -> list[int]:
    """Return which of `own` hold the equal-mass quantiles; what is missing, quantiles of the others find."""
    chosen: list[int] = []
    while len(chosen) < number:
        left = [p for p in own if p not in chosen]
        total, missing = sum(mass[p] for p in left), number - len(chosen)
        found = set()
        for k in range(missing):
            wanted = (k + 0.5) / missing * total - TIES * eps * total
            cumulated = 0.0
            for p in left:
                cumulated += mass[p]
                if cumulated >= wanted:
                    found.add(p)
                    break
        chosen += sorted(found)
    return sorted(chosen)
