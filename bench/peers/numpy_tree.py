"""TreeHEM by NumPy, of positive mixtures, when the plan is given: all nodes of one height are fitted at once.

Not timed, then, is over 40 % of our work (tree, representatives, masks), nor is finding out where every number lies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.peers.formulas import whitening
from gmengine import Mixture
from gmengine.ops.reduce import TreePlan

VIRTUAL_SAMPLES = 4.0


@dataclass(frozen=True)
class Level:
    """The nodes of one height: from which rows their slots come, where outputs start and may come from, and go."""

    slots: Any  # (nodes, 2T) rows; a row of weight 0 where there is no slot
    starts: Any  # (nodes, S) which of the slots
    allowed: Any  # (nodes, 2T, S)
    targets: Any  # (nodes, S) rows; the last row of all where there is no output
    copied: Any  # (2, copies) rows from where to where, of nodes that hold all that their children do


@dataclass(frozen=True)
class Schedule:
    """Rows: the leaves in order, then T for every node of every tree, then 2T for every result, then two spare ones."""

    leaves: Any  # (M, N) which component is which leaf
    levels: list[Level]
    results: Any  # (M, n) rows
    rows: int


def schedule(plan: TreePlan, per_node: int) -> Schedule:
    """Return what to do for a plan of mixtures whose components are all present and positive."""
    M, N = plan.order.shape
    n, width = plan.selected.shape[1], 2 * per_node
    inner, ends = M * N, M * N + M * (N - 1) * per_node
    spare = ends + M * n * width  # a row of weight 0, and one to write to
    results = np.full((M, n), spare)
    by_height: dict[int, list[Any]] = {}
    for m in range(M):
        height = np.zeros(N - 1, int)
        for k in range(n):
            count = int(plan.offsets[m, k + 1] - plan.offsets[m, k])
            root = int(plan.selected[m, k])
            at = plan.offsets[m, k] + np.arange(count)
            if count == 0:
                break
            if root < 0:
                results[m, at] = m * N + ~root
                continue
            top = ends + (m * n + k) * width
            results[m, at] = top + np.arange(count)
            for v in range(root + plan.leaves[m, root] - 2, root - 1, -1):
                below, slots = plan.children[m, v], []
                for c in below:
                    held = 1 if c < 0 else min(per_node, int(plan.leaves[m, c]))
                    first = m * N + ~c if c < 0 else inner + (m * (N - 1) + c) * per_node
                    slots += range(first, first + held)
                height[v] = 1 + max(0 if c < 0 else height[c] for c in below)
                out = count if v == root else min(per_node, int(plan.leaves[m, v]))
                target = top if v == root else inner + (m * (N - 1) + v) * per_node
                node = slots, plan.representatives[m, v], plan.masks[m, v], out, target
                by_height.setdefault(int(height[v]), []).append(node)
    levels = [_level(nodes, width, spare) for _, nodes in sorted(by_height.items())]
    return Schedule(plan.order, levels, results, spare + 2)


def _level(nodes: list[Any], width: int, spare: int) -> Level:
    fitted = [node for node in nodes if len(node[0]) != node[3]]
    most = max((node[3] for node in fitted), default=1)
    slots, starts = np.full((len(fitted), width), spare), np.zeros((len(fitted), most), int)
    allowed, targets = np.zeros((len(fitted), width, most), bool), np.full((len(fitted), most), spare + 1)
    for i, (own, representatives, masks, out, target) in enumerate(fitted):
        slots[i, : len(own)] = own
        starts[i, :out] = representatives[:out]
        allowed[i, :, :out] = (masks[:, None] >> np.arange(out)) & 1
        targets[i, :out] = target + np.arange(out)
    allowed[slots == spare] = True  # which weighs nothing
    held = [(s, target + i) for own, _, _, out, target in nodes if len(own) == out for i, s in enumerate(own)]
    return Level(slots, starts, allowed, targets, np.array(held, int).reshape(-1, 2).T)


def apply(mixture: Mixture, plan: Schedule) -> tuple[Any, Any, Any]:
    """Return the reduced mixtures, for weights (M, N)."""
    rows = np.arange(len(mixture.weights))[:, None]
    table = []
    for x in mixture.arrays:
        filled = np.zeros((plan.rows, *x.shape[2:]))
        filled[: plan.leaves.size] = x[rows, plan.leaves].reshape(-1, *x.shape[2:])
        table.append(filled)
    table[2][-2:] = np.eye(mixture.dim)
    for level in plan.levels:
        for x in table:
            x[level.copied[1]] = x[level.copied[0]]
        for x, fitted in zip(table, _fit(level, *(x[level.slots] for x in table)), strict=True):
            x[level.targets] = fitted
    return tuple(x[plan.results].astype(mixture.dtype) for x in table)


def _fit(level: Level, w: Any, mu: Any, cov: Any) -> tuple[Any, Any, Any]:
    """Return one step of EM in every node: weights (nodes, 2T) and so on to (nodes, S) and so on."""
    nodes = np.arange(len(w))[:, None]
    w_s, mu_s, cov_s = (x[nodes, level.starts] for x in (w, mu, cov))
    inverse, peak = whitening(np, cov_s)
    K = mu.shape[-1]
    energy = np.zeros((*w.shape, level.starts.shape[1]))
    d = mu[:, :, None] - mu_s[:, None]
    for k in range(K):
        y = sum(inverse[k][m][:, None] * d[..., m] for m in range(k + 1))
        energy += y * y
        for m in range(k + 1):
            for e in range(k + 1):
                energy += (inverse[k][m] * inverse[k][e])[:, None] * cov[:, :, None, m, e]
    share = w / np.maximum(w.sum(1, keepdims=True), np.finfo(float).tiny)
    z = np.log(w_s)[:, None] + VIRTUAL_SAMPLES * share[:, :, None] * (np.log(peak)[:, None] - 0.5 * energy)
    z = np.where(level.allowed, z, -np.inf)
    r = np.exp(z - z.max(2, keepdims=True))
    rho = r / r.sum(2, keepdims=True) * w[:, :, None]
    mass = rho.sum(1)
    part = rho / np.where(mass > 0, mass, 1.0)[:, None]
    centre = np.einsum("nis,nik->nsk", part, mu)
    d = mu[:, :, None] - centre[:, None]
    spread = np.einsum("nis,nisk,nise->nske", part, d, d, optimize=True) + np.einsum(
        "nis,nike->nske", part, cov
    )
    return mass, centre, spread
