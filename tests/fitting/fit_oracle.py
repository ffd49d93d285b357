"""The formulas of the fit in NumPy, one sample at a time."""

import numpy as np


def expected_log_densities(points, mixture, floor):
    """log w_s + E_i[log N(x; mu_s, C_s)] for every point (P,), a Gaussian of covariance floor I, and component."""
    w, mu, cov = (a[mixture.weights > 0] for a in mixture.arrays)
    inverse = np.linalg.inv(cov)
    d = points[:, None] - mu
    squares = np.einsum("pnk,nkl,pnl->pn", d, inverse, d)
    log_det = np.linalg.slogdet(2 * np.pi * cov)[1]
    return np.log(w / w.sum()) - 0.5 * (log_det + squares + floor * np.trace(inverse, axis1=-2, axis2=-1))


def log_sum_exp(z):
    top = z.max(axis=1, keepdims=True)
    return top[:, 0] + np.log(np.exp(z - top).sum(axis=1))


def bound(points, masses, mixture, floor):
    """The function that an EM step of such points does not lower; floor = 0: the log-likelihood per unit of mass."""
    return float(masses @ log_sum_exp(expected_log_densities(points, mixture, floor)) / masses.sum())


def pixel_centres(height, width):
    """x = column and y = row of every pixel, row by row."""
    rows, columns = np.indices((height, width))
    return np.stack([columns.ravel(), rows.ravel()], axis=-1).astype(float)


def log_likelihood(image, mixture):
    """Mean log-likelihood of an image of square pixels, each sampled at 4 x 4 places."""
    places = (np.arange(4) + 0.5) / 4 - 0.5
    centres = pixel_centres(*image.shape)
    return np.mean(
        [bound(centres + np.array([x, y]), image.ravel(), mixture, 0.0) for x in places for y in places]
    )


def em_step(points, masses, mixture, floor, blurred=True):
    """Weights, means and covariances of the present components after one step."""
    z = expected_log_densities(points, mixture, floor if blurred else 0.0)
    shares = np.exp(z - log_sum_exp(z)[:, None]) * masses[:, None]
    w = shares.sum(axis=0)
    mu = shares.T @ points / w[:, None]
    d = points[:, None] - mu
    cov = np.einsum("pn,pnk,pnl->nkl", shares, d, d) / w[:, None, None]
    return w, mu, cov + floor * np.eye(points.shape[1])


def taken_by_the_floor(mixture, floor):
    """By how much a step that led to the mixture may have lowered the log-likelihood of points without a variance.

    Q is the largest, of covariances not below floor I, at max(l, floor) for eigenvalues l of the scatter S of the
    points; log det C + tr(C^-1 S) is that much larger at S + floor I.
    """
    w, _, cov = (a[mixture.weights > 0] for a in mixture.arrays)
    u = np.maximum(np.linalg.eigvalsh(cov) / floor - 1, 0)
    loss = np.log((1 + u) / np.maximum(u, 1)) + u / (1 + u) - np.minimum(u, 1)
    return float(w @ loss.sum(axis=1) / (2 * w.sum()))


def moments(weights, means, covariances):
    """Mass, mean and covariance of a whole mixture; with zero covariances, of points."""
    total = weights.sum()
    mean = weights @ means / total
    d = means - mean
    spread = np.einsum("n,nkl->kl", weights, covariances + d[:, :, None] * d[:, None, :]) / total
    return total, mean, spread


def cloud(rng, samples, count, dim, holes=0.2):
    """Points around a few centres, with masses of which some are 0."""
    rng = np.random.default_rng(rng)
    points = rng.standard_normal((samples, count, dim)) + 4.0 * rng.integers(-1, 2, (samples, count, 1))
    masses = rng.uniform(0.1, 2.0, (samples, count)) * (rng.random((samples, count)) >= holes)
    return points, masses


def furthest_points(points, n):
    """Indices of the first point and then ever the point furthest from those before, the lowest on ties."""
    chosen = [0]
    while len(chosen) < min(n, len(points)):
        squares = [min(sum((p - points[c]) ** 2) for c in chosen) for p in points]
        if max(squares) == 0:
            break
        chosen.append(int(np.argmax(np.array(squares) >= max(squares) * (1 - 1e-12))))
    return chosen


def lloyd(points, masses, centres, rounds):
    """Labels and weighted means after at most `rounds` assignments; the lowest label on ties, no cluster empty."""
    labels = None
    for _ in range(rounds):
        old = labels
        squares = ((points[:, None] - centres) ** 2).sum(-1)
        labels = np.argmax(squares <= squares.min(axis=1, keepdims=True) + 1e-13, axis=1)
        if old is not None and (labels == old).all():
            break
        centres = np.array(
            [np.average(points[labels == s], 0, masses[labels == s]) for s in range(len(centres))]
        )
    return labels, centres


def neighbourhood(points, i, number):
    """Mean outer product of the offsets from point i to its nearest others, all that tie included."""
    offsets = np.delete(points, i, axis=0) - points[i]
    squares = (offsets**2).sum(-1)
    chosen = offsets[squares <= np.sort(squares)[min(number, len(squares)) - 1] * (1 + 1e-12)]
    return chosen.T @ chosen / len(chosen)
