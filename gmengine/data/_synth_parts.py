"""What several kinds of furniture have in common: legs, tops, drawers, shells."""

from __future__ import annotations

import itertools

import numpy as np

from gmengine.data._synth_solids import Span, block, moved, outline, revolved, rod, slab, stack, union
from gmengine.data.formats.mesh import Mesh

Rng = np.random.Generator


def between(rng: Rng, low: float, high: float) -> float:
    """Return a number drawn uniformly."""
    return float(rng.uniform(low, high))


def chance(rng: Rng, probability: float) -> bool:
    """Return True with the probability."""
    return bool(rng.random() < probability)


def pick(rng: Rng, **weights: float) -> str:
    """Return one of the names, drawn by weight."""
    shares = np.array(list(weights.values()))
    return str(rng.choice(list(weights), p=shares / shares.sum()))


def top_shape(rng: Rng, width: float, depth: float, round_share: float = 0.3) -> np.ndarray:
    """Return a rectangle, a rounded one, or an ellipse."""
    if chance(rng, round_share):
        return outline(width, depth, 2.0)
    return outline(width, depth, between(rng, 6, 20) if chance(rng, 0.4) else 40.0)


def corner_legs(rng: Rng, width: float, depth: float, height: float, thick: float) -> Mesh:
    """Return four legs below a top, upright or splayed, square or round, tapered or not."""
    sides = int(rng.choice([4, 8]))
    splay = between(rng, 0.02, 0.12) if chance(rng, 0.3) else 0.0
    tip = thick * between(rng, 0.4, 1.0)
    x, y = width / 2 - thick, depth / 2 - thick
    legs = []
    for sx in (-1, 1):
        for sy in (-1, 1):
            foot = (sx * (x + splay), sy * (y + splay), 0)
            legs.append(rod((sx * x, sy * y, height), foot, thick, tip, sides))
    if chance(rng, 0.25):  # stretchers
        z = height * between(rng, 0.15, 0.5)
        legs += [rod((s * x, -y, z), (s * x, y, z), thick * 0.6, sides=4) for s in (-1, 1)]
        legs.append(rod((-x, 0, z), (x, 0, z), thick * 0.6, sides=4))
    return union(*legs)


def sled_legs(width: float, depth: float, height: float, thick: float) -> Mesh:
    """Return a frame of bars on either side."""
    x, y = width / 2 - thick, depth / 2 - thick
    bars = []
    for side in (-x, x):
        bars += [rod((side, sy * y, 0), (side, sy * y, height), thick, sides=6) for sy in (-1, 1)]
        bars += [rod((side, -y, z), (side, y, z), thick, sides=6) for z in (thick, height - thick)]
    return union(*bars)


def pedestal(rng: Rng, height: float, radius: float) -> Mesh:
    """Return a column on a disc, a bell, or a star of bars."""
    column = between(rng, 0.025, 0.06)
    kind = pick(rng, disc=2, bell=1, star=2)
    if kind == "star":
        spokes = int(rng.integers(3, 6))
        bars = [
            moved(
                rod((0, 0, 0.06), (radius, 0, 0.03), column * 0.7, column * 0.4), turn=2 * np.pi * k / spokes
            )
            for k in range(spokes)
        ]
        return union(rod((0, 0, 0.04), (0, 0, height), column), *bars)
    if kind == "bell":
        profile = [
            (radius, 0),
            (radius, 0.02),
            (radius * 0.4, 0.08),
            (column, height * 0.4),
            (column, height),
        ]
        return revolved(profile)
    return union(revolved([(radius, 0), (radius, 0.025)]), rod((0, 0, 0), (0, 0, height), column))


def office_base(rng: Rng, height: float, radius: float) -> Mesh:
    """Return a column on five spokes with castors."""
    wheel = between(rng, 0.02, 0.035)
    parts = [rod((0, 0, wheel * 2), (0, 0, height), between(rng, 0.02, 0.035))]
    for k in range(5):
        spoke = rod((0, 0, wheel * 3), (radius, 0, wheel * 2), 0.025, 0.015)
        castor = rod((radius, -0.02, wheel), (radius, 0.02, wheel), wheel)
        parts.append(moved(union(spoke, castor), turn=2 * np.pi * k / 5))
    return union(*parts)


def fronts(rng: Rng, x: Span, z: Span, front: float, rows: int, columns: int, drawers: bool = True) -> Mesh:
    """Return the fronts of drawers or doors, with knobs or bars, on a face towards -y."""
    gap, deep = between(rng, 0.004, 0.012), between(rng, 0.01, 0.02)
    xs, zs = np.linspace(*x, columns + 1), np.linspace(*z, rows + 1)
    handle = pick(rng, knob=2, bar=2, none=1)
    parts = []
    for left, right in itertools.pairwise(xs):
        for low, high in itertools.pairwise(zs):
            parts.append(block((left + gap, right - gap), (front - deep, front), (low + gap, high - gap)))
            middle = (left + right) / 2 if drawers else right - 0.05
            y, half = front - deep - 0.02, min(0.08, (right - left) * 0.25)
            if handle == "knob":
                parts.append(
                    rod((middle, front - deep, (low + high) / 2), (middle, y, (low + high) / 2), 0.012)
                )
            elif handle == "bar":
                along = (half, 0.0) if drawers else (0.0, min(half, (high - low) / 3))
                ends = [(middle + s * along[0], y, (low + high) / 2 + s * along[1]) for s in (-1, 1)]
                parts.append(rod(ends[0], ends[1], 0.008, sides=6))
    return union(*parts)


def tub(outer: list[tuple[np.ndarray, float]], inner: list[tuple[np.ndarray, float]]) -> Mesh:
    """Return a vessel: outlines upwards outside, and down again inside."""
    both = [*outer, *inner]
    return stack([shape for shape, _ in both], [z for _, z in both])


def plate(width: float, depth: float, z: Span) -> Mesh:
    """Return a flat box around the z axis."""
    return block((-width / 2, width / 2), (-depth / 2, depth / 2), z)


def table_top(rng: Rng, width: float, depth: float, height: float, round_share: float) -> tuple[Mesh, float]:
    """Return a top whose upper side is at `height`, and its thickness."""
    thick = between(rng, 0.015, 0.06)
    return slab(top_shape(rng, width, depth, round_share), (height - thick, height)), thick
