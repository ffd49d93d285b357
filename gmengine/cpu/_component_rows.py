"""A mixture as the pair loops read it: flat covariances, and one row of coefficients per present component."""

import numpy as np

from gmengine.cpu._compile import helper
from gmengine.cpu._gaussian import gather_present, prepare
from gmengine.cpu._pairs import lane_dtype


def flat(weights, means, covariances):
    """Return a mixture with covariances (M, N, K K)."""
    return weights, means, covariances.reshape(*weights.shape, covariances.shape[-1] ** 2)


@helper
def new_rows(N, like):
    """Return uninitialised rows (N, K + T + 1): mean, A and amplitude w N(mu; mu, C)."""
    mean, tri, _ = like
    return np.empty((N, len(mean) + len(tri) + 1), lane_dtype(mean))


@helper
def start(weights, means, covariances, index, peaks, rows, like):
    """Write the rows of a mixture; return (number of components present, fault, component of the fault)."""
    n = gather_present(weights, index)
    fault, where = prepare(weights, means, covariances, index, n, rows, peaks, like)
    for r in range(n):
        rows[r, len(like[0]) + len(like[1])] = weights[index[r]] * peaks[r]
    return n, fault, where
