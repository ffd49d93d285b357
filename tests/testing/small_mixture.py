"""A mixture library as somebody else might write it: NumPy, no classes, and a bug to choose.

A mixture is ``(weights (*batch, N), means (*batch, N, K), covariances (*batch, N, K, K))``; a weight of 0 is
padding. ``Small()`` is correct. ``Small("lost weight")`` has that one bug; `BUGS` lists them.
"""

from __future__ import annotations

import numpy as np

BUGS = (
    "wrong normalisation",
    "transposed covariance",
    "lost weight",
    "off by one",
    "unsymmetrised gradient",
    "cancellation",
    "order dependence",
    "revived padding",
    "wrong broadcast",
    "mutated input",
)


class Small:
    """The functions, for `Algebra.from_triples`; `bug` is one of `BUGS`, or None."""

    def __init__(self, bug=None):
        assert bug is None or bug in BUGS
        self.bug = bug

    def functions(self):
        names = ("evaluate", "evaluate_vjp", "integrate", "convolve", "translate", "scale", "relu", "reduce")
        return {name: getattr(self, name) for name in names}

    # --- values ---------------------------------------------------------------------------------------------

    def evaluate(self, m, points):
        weights, means, covariances = m
        if self.bug == "wrong broadcast" and points.ndim > 2:
            points = np.broadcast_to(points[(0,) * (points.ndim - 2)], points.shape)
        return self._terms(weights, means, covariances, points).sum(axis=-1)

    def evaluate_vjp(self, m, points, cotangent):
        weights, means, covariances = m
        values = self._terms(weights, means, covariances, points)
        terms = cotangent[..., None] * values
        precisions = self._precisions(weights, covariances)
        d = points[..., :, None, :] - means[..., None, :, :]
        pull = np.einsum("...nij,...pnj->...pni", precisions, d)
        g_weights = np.where(weights != 0, terms.sum(axis=-2) / np.where(weights != 0, weights, 1), 0)
        g_means = np.einsum("...pn,...pni->...ni", terms, pull)
        outer = np.einsum("...pn,...pni,...pnj->...nij", terms, pull, pull)
        g_covariances = (outer - terms.sum(axis=-2)[..., None, None] * precisions) / 2
        if self.bug == "unsymmetrised gradient":  # that of the upper triangle, which has all of the slope
            upper = np.triu(np.ones_like(g_covariances), 1)
            g_covariances = g_covariances * (1 + upper - np.swapaxes(upper, -1, -2))
        return g_weights, g_means, g_covariances

    def integrate(self, m):
        return m[0].sum(axis=-1)

    def _precisions(self, weights, covariances):
        eye = np.eye(covariances.shape[-1], dtype=covariances.dtype)
        present = (weights != 0)[..., None, None]
        return np.where(present, np.linalg.inv(np.where(present, covariances, eye)), 0)

    def _terms(self, weights, means, covariances, points):
        """Return ``w_i N(x; mu_i, C_i)``, of shape (*batch, P, N)."""
        dim = means.shape[-1]
        present = weights != 0
        c = np.where(present[..., None, None], covariances, np.eye(dim, dtype=means.dtype))
        factors = np.linalg.cholesky(c)
        inverse = np.linalg.inv(factors)
        if self.bug == "transposed covariance":
            inverse = np.swapaxes(inverse, -1, -2)
        mu = np.where(present[..., None], means, 0)
        d = points[..., :, None, :] - mu[..., None, :, :]
        whitened = np.einsum("...nij,...pnj->...pni", inverse, d)
        squares = (whitened**2).sum(axis=-1)
        if self.bug == "cancellation":
            x, y = (
                np.einsum("...nij,...pnj->...pni", inverse, a)
                for a in (points[..., :, None, :] + 0 * d, mu[..., None, :, :] + 0 * d)
            )
            squares = (x**2).sum(axis=-1) - 2 * (x * y).sum(axis=-1) + (y**2).sum(axis=-1)
        log_det = 2 * np.log(np.diagonal(factors, axis1=-2, axis2=-1)).sum(axis=-1)
        if self.bug == "wrong normalisation":
            log_det = 2 * log_det
        log_volume = 0.5 * (dim * np.log(2 * np.pi) + log_det)
        return weights[..., None, :] * np.exp(-0.5 * squares - log_volume[..., None, :]).astype(means.dtype)

    # --- maps -----------------------------------------------------------------------------------------------

    def convolve(self, a, b):
        (wa, ma, ca), (wb, mb, cb) = a, b
        dim = ma.shape[-1]
        weights = (wa[:, None] * wb).reshape(-1)
        if self.bug == "lost weight":
            weights = np.where(np.arange(len(weights)) % 5 == 4, 0, weights)
        return weights, (ma[:, None] + mb).reshape(-1, dim), (ca[:, None] + cb).reshape(-1, dim, dim)

    def translate(self, m, shift):
        weights, means, covariances = m
        if self.bug == "mutated input":
            means += shift
            return weights, means, covariances
        return weights, means + shift, covariances

    def scale(self, m, factor):
        weights, means, covariances = m
        return weights, means * factor, covariances * factor**2

    def relu(self, m, bias, epsilon=0.05):
        """The dense fit of max(0, m + bias) - max(0, bias), with absolute epsilons."""
        weights, means, covariances = m
        present = weights != 0
        ones = np.where(present, 1, 0).astype(weights.dtype)
        densities = self._terms(ones, means, covariances, np.where(present[..., None], means, 0))
        above = max(bias, 0.0)
        first = np.abs(np.where(weights + bias > 0, weights, -above)) + epsilon
        first = first if self.bug == "revived padding" else np.where(present, first, 0)
        values = np.einsum("...pn,...n->...p", densities, weights)
        fitted = np.einsum("...pn,...n->...p", densities, first)
        return (
            first * (np.maximum(values + bias, 0) - above + epsilon) / (fitted + epsilon),
            means,
            covariances,
        )

    def reduce(self, m, n):
        """Merge the two nearest components of one sign, until there are n; moments are kept."""
        weights, means, covariances = m
        batch, dim = weights.shape[:-1], means.shape[-1]
        n = min(n, weights.shape[-1])
        out = np.zeros((*batch, n)), np.zeros((*batch, n, dim)), np.zeros((*batch, n, dim, dim))
        out[2][...] = np.eye(dim)
        for b in np.ndindex(*batch):
            parts = [
                (w, mu, c) for w, mu, c in zip(weights[b], means[b], covariances[b], strict=True) if w != 0
            ]
            while len(parts) > n - (self.bug == "off by one" and len(parts) > 2):
                i, j = self._pair(parts)
                merged = self._merged(parts[i], parts[j])
                parts = [p for k, p in enumerate(parts) if k not in (i, j)] + [merged]
            for k, part in enumerate(parts):
                for array, value in zip(out, part, strict=True):
                    array[(*b, k)] = value
        return tuple(a.astype(weights.dtype) for a in out)

    def _pair(self, parts):
        pairs = [
            (np.sum((p[1] - q[1]) ** 2), i, i + 1 + j)
            for i, p in enumerate(parts)
            for j, q in enumerate(parts[i + 1 :])
            if p[0] * q[0] > 0
        ]
        if self.bug == "order dependence":
            return pairs[0][1:]
        return min(pairs)[1:]

    def _merged(self, p, q):
        w = p[0] + q[0]
        share = q[0] / w
        d = q[1] - p[1]
        mean = p[1] + share * d
        return w, mean, p[2] + share * (q[2] - p[2]) + share * (1 - share) * np.outer(d, d)
