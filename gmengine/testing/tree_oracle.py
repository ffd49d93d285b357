"""What `reduce(method="tree_hem")` should give: the same greedy tree of mergers, as recursion over lists.

Shares no code with the package, and no cleverness: every node is fitted, whether it is selected or not.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log, pi, sqrt
from typing import Any

import numpy as np

TIES = 64
"""Two numbers closer than this many epsilons of the input's dtype are equal: the lower index wins."""

Gaussian = tuple[float, Any, Any]
Triple = tuple[Any, Any, Any]
Tree = tuple[float, "Node", int]  # sign, root, number of components that it stands for


@dataclass
class Node:
    """A node of the tree: its leaves' mass and number, its Gaussians, and what they were fitted from."""

    mass: float
    leaves: int
    gaussians: list[Gaussian]
    collected: list[Gaussian]
    children: tuple[Node, ...] = ()


def tree_hem(weights: Any, means: Any, covariances: Any, n: int, per_node: int = 2) -> Triple:
    """Return one mixture reduced to `n` components; unchanged if it has no more than `n` slots."""
    if n >= len(weights):
        return weights, means, covariances
    eps = float(np.finfo(weights.dtype).eps)
    live = [i for i, w in enumerate(weights) if w != 0]
    centre = (means[live].min(axis=0) / 2 + means[live].max(axis=0) / 2).astype(float) if live else 0.0
    means64, covariances64 = means.astype(float) - centre, covariances.astype(float)  # coincident: exactly 0
    codes = dict(zip(live, morton(means64[live], eps), strict=True)) if live else {}
    fit = _Fit(eps, float(np.max(np.ptp(means64[live], axis=0))) if live else 0.0)
    trees: list[Tree] = []
    for sign in (1.0, -1.0):
        keys = sorted((codes[i] << 32) | i for i in live if weights[i] * sign > 0)
        leaves = {
            k: (abs(float(weights[i])), means64[i], covariances64[i]) for k in keys for i in [k & 0xFFFFFFFF]
        }
        if keys:
            root = _grow(keys, leaves, per_node, fit)
            trees.append((sign, root, len(root.gaussians)))
    out = [(sign * w, mu + centre, cov) for sign, (w, mu, cov) in _select(trees, n, per_node, fit)]
    dim = means.shape[-1]
    w, mu, cov = np.zeros(n), np.zeros((n, dim)), np.zeros((n, dim, dim))
    for s, (a, b, c) in enumerate(out):
        w[s], mu[s], cov[s] = a, b, c
    return w, mu, cov


def morton(points: Any, eps: float) -> list[int]:
    """Return the Morton codes of points (N, K) in their bounding box; `eps` is that of the input's dtype."""
    dim = points.shape[-1]
    bits = 10 if dim <= 3 else max(1, 30 // dim)
    low, size = points.min(axis=0), np.ptp(points, axis=0)
    codes = []
    for p in points:
        cells = []
        for a in range(min(dim, 30)):
            t = (p[a] - low[a]) / size[a] if size[a] > 0 else 0.0
            cells.append(min(2**bits - 1, int(2**bits * t + 2**bits * TIES * eps)))
        code = 0
        for b in reversed(range(bits)):
            for cell in cells:
                code = (code << 1) | ((cell >> b) & 1)
        codes.append(code)
    return codes


def _grow(keys: list[int], leaves: dict[int, Gaussian], per_node: int, fit: _Fit) -> Node:
    """Split the sorted keys at the highest bit in which they differ; merge on the way back."""
    if len(keys) == 1:
        g = leaves[keys[0]]
        return Node(g[0], 1, [g], [g])
    top = (keys[0] ^ keys[-1]).bit_length() - 1
    cut = next(i for i, k in enumerate(keys) if (k >> top) & 1)
    left, right = (_grow(part, leaves, per_node, fit) for part in (keys[:cut], keys[cut:]))
    collected = left.gaussians + right.gaussians
    merged = fit(collected, per_node) if len(collected) > per_node else collected
    return Node(left.mass + right.mass, left.leaves + right.leaves, merged, collected, (left, right))


def _select(trees: list[Tree], n: int, per_node: int, fit: _Fit) -> list[tuple[float, Gaussian]]:
    """Open the heaviest full node until `n` components are there; refit where a step would be too far."""
    chosen = _roots(trees, n, fit.eps)
    count = sum(size for _, _, size in chosen)
    while count < n:
        full = [node.mass if size == per_node and node.children else -1.0 for _, node, size in chosen]
        if max(full, default=-1.0) < 0:
            break
        at = _first_largest(full, fit.eps)
        sign, node, _ = chosen[at]
        left, right = node.children
        more = len(node.collected) - per_node
        if count + more > n:
            chosen[at] = (sign, node, per_node + n - count)
            break
        chosen[at] = (sign, left, len(left.gaussians))
        chosen.append((sign, right, len(right.gaussians)))
        count += more
    out = []
    for sign, node, size in chosen:
        whole = size == len(node.gaussians)
        out += [(sign, g) for g in (node.gaussians if whole else fit(node.collected, size))]
    return out


def _roots(trees: list[Tree], n: int, eps: float) -> list[Tree]:
    """Return the roots, cut to `n` components in all: shared out by mass, one to each sign at least."""
    if n >= sum(size for _, _, size in trees):
        return trees
    share = [1] * len(trees)
    while sum(share) < n:
        claims = [t[1].mass / k if k < t[2] else -1.0 for t, k in zip(trees, share, strict=True)]
        share[_first_largest(claims, eps)] += 1
    return [(sign, node, k) for (sign, node, _), k in zip(trees, share, strict=True)]


def _first_largest(values: list[float], eps: float) -> int:
    best = max(values)
    return next(i for i, v in enumerate(values) if v >= best - TIES * eps * abs(best))


class _Fit:
    """One step of hierarchical EM from a list of Gaussians to fewer, with 4 virtual points (paper 4.3)."""

    def __init__(self, eps: float, extent: float) -> None:
        self.eps, self.extent = eps, extent

    def __call__(self, given: list[Gaussian], m: int) -> list[Gaussian]:
        clusters = self._clusters([g[1] for g in given], m)
        weights = [g[0] for g in given]
        parents = [given[c[_first_largest([weights[i] for i in c], self.eps)]] for c in clusters]
        total = sum(weights)
        shares = [_shares(g, parents, total, self.eps) for g in given]
        out = []
        for s in range(m):
            rho = [r[s] * g[0] for r, g in zip(shares, given, strict=True)]
            w = sum(rho)
            mean = sum(a * g[1] for a, g in zip(rho, given, strict=True)) / w
            spread = sum(
                a * (g[2] + np.outer(g[1] - mean, g[1] - mean)) for a, g in zip(rho, given, strict=True)
            )
            out.append((w, mean, spread / w))
        return out

    def _clusters(self, points: list[Any], m: int) -> list[list[int]]:
        """Single linkage: unite the two nearest points of different clusters until `m` clusters are left."""
        clusters = [[i] for i in range(len(points))]
        while len(clusters) > m:
            owner = {i: k for k, c in enumerate(clusters) for i in c}
            best: tuple[float, int, int] | None = None
            for i in range(len(points)):
                for j in range(i + 1, len(points)):
                    d = float(np.sum((points[i] - points[j]) ** 2))
                    error = TIES / 2 * self.eps * self.extent  # of a distance that is not squared
                    slack = TIES * self.eps * d + error * (2 * sqrt(d) + error)
                    if owner[i] != owner[j] and (best is None or d < best[0] - slack):
                        best = (d, i, j)
            assert best is not None
            a, b = sorted((owner[best[1]], owner[best[2]]))
            clusters[a] = sorted(clusters[a] + clusters[b])
            del clusters[b]
            clusters.sort()
        return clusters


def _shares(g: Gaussian, parents: list[Gaussian], total: float, eps: float) -> list[float]:
    """Return how much of one Gaussian each parent takes: a softmax over the parents that it is close to.

    Close means a divergence clearly below 1/2, not one that rounding put there; the nearest parent always is.
    """
    w, mean, cov = g
    dim = len(mean)
    scores, divergences = [], []
    for pw, pmean, pcov in parents:
        p, d = np.linalg.inv(pcov), mean - pmean
        maha, trace = float(d @ p @ d), float(np.trace(p @ cov))
        likelihood = -0.5 * (dim * log(2 * pi) + _logdet(pcov) + maha + trace)
        scores.append(log(pw) + 4 * w / total * likelihood)
        divergences.append(0.5 * (maha + trace - dim - (_logdet(cov) - _logdet(pcov))))
    nearest = _first_largest([-v for v in divergences], eps)
    kept = [v < 0.5 - TIES * eps or s == nearest for s, v in enumerate(divergences)]
    top = max(z for z, k in zip(scores, kept, strict=True) if k)
    terms = [exp(z - top) if k else 0.0 for z, k in zip(scores, kept, strict=True)]
    return [t / sum(terms) for t in terms]


def _logdet(c: Any) -> float:
    return float(np.linalg.slogdet(c)[1])
