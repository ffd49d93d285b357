"""Dressers, night stands and beds; their fronts are at -y, a bed's head is at +y."""

from __future__ import annotations

import itertools

import numpy as np

from gmengine.data._synth_parts import Rng, between, chance, corner_legs, fronts, pick, plate
from gmengine.data._synth_solids import block, cushion, moved, outline, revolved, rod, slab, union
from gmengine.data.formats.mesh import Mesh


def dresser(rng: Rng) -> Mesh:
    """Return a chest of drawers, sometimes with doors, sometimes with a mirror."""
    width, depth = between(rng, 0.6, 1.8), between(rng, 0.38, 0.6)
    height = between(rng, 0.65, 1.3)
    rows, columns = int(rng.integers(2, 6)), 1 + int(width > 0.9) + int(width > 1.4 and chance(rng, 0.5))
    body, low, high = _case(rng, width, depth, height)
    inside = (-width / 2 + 0.02, width / 2 - 0.02)
    parts = [body]
    if chance(rng, 0.2):  # doors below, drawers above
        split = low + (high - low) * between(rng, 0.5, 0.75)
        parts.append(fronts(rng, inside, (low, split), -depth / 2, 1, max(2, columns), drawers=False))
        parts.append(fronts(rng, inside, (split, high), -depth / 2, 1, columns))
    else:
        parts.append(fronts(rng, inside, (low, high), -depth / 2, rows, columns))
    if chance(rng, 0.2):
        wide, tall = width * between(rng, 0.5, 0.95), between(rng, 0.4, 0.9)
        parts.append(
            block((-wide / 2, wide / 2), (depth / 2 - 0.05, depth / 2 - 0.02), (height, height + tall))
        )
    return union(*parts)


def _case(rng: Rng, width: float, depth: float, height: float) -> tuple[Mesh, float, float]:
    """Return a closed case on feet, a plinth or the floor, and the heights between which its front is."""
    thick = between(rng, 0.015, 0.04)
    low = between(rng, 0.03, 0.2) if chance(rng, 0.75) else 0.0
    over = between(rng, 0.0, 0.03)
    parts = [
        plate(width, depth, (low, height - thick)),
        plate(width + 2 * over, depth + 2 * over, (height - thick, height)),
    ]
    if low:
        if chance(rng, 0.6):
            parts.append(corner_legs(rng, width, depth, low + 0.005, between(rng, 0.015, 0.035)))
        else:
            parts.append(plate(width * 0.95, depth * 0.9, (0, low)))
    return union(*parts), low + 0.01, height - thick


def night_stand(rng: Rng) -> Mesh:
    """Return a small case with a drawer or two and an open compartment, or a small table with a drawer."""
    width, depth, height = between(rng, 0.35, 0.62), between(rng, 0.32, 0.5), between(rng, 0.4, 0.72)
    kind = pick(rng, closed=3, open=3, table=2, drum=0.7)
    if kind == "drum":
        return _drum(rng, width, height)
    if kind == "closed":
        body, low, high = _case(rng, width, depth, height)
        inside = (-width / 2 + 0.015, width / 2 - 0.015)
        return union(body, fronts(rng, inside, (low, high), -depth / 2, int(rng.integers(1, 4)), 1))
    thick, box = between(rng, 0.015, 0.03), height * between(rng, 0.25, 0.5)
    x, y = width / 2, depth / 2
    parts = [
        plate(width * 1.05, depth * 1.05, (height - thick, height)),
        plate(width, depth, (height - box, height - thick)),
    ]
    parts.append(fronts(rng, (-x, x), (height - box, height - thick), -y, 1, 1))
    shelf = between(rng, 0.05, 0.2)
    if kind == "table":
        parts.append(corner_legs(rng, width, depth, height - box, between(rng, 0.012, 0.03)))
        if chance(rng, 0.6):
            parts.append(plate(width * 0.92, depth * 0.92, (shelf, shelf + 0.02)))
    else:
        foot = shelf if chance(rng, 0.5) else 0.03
        parts += [block((s * x - thick / 2, s * x + thick / 2), (-y, y), (0, height - box)) for s in (-1, 1)]
        parts.append(plate(width, depth, (foot, foot + thick)))
        parts.append(block((-x, x), (y - 0.01, y), (foot, height - box)))
    return union(*parts)


def _drum(rng: Rng, width: float, height: float) -> Mesh:
    """Return a round stand."""
    r, low = width / 2, between(rng, 0.05, 0.15)
    parts = [revolved([(r, low), (r, height)]), revolved([(r * 1.06, height - 0.03), (r * 1.06, height)])]
    parts += [
        rod((sx * r * 0.6, sy * r * 0.6, 0), (sx * r * 0.6, sy * r * 0.6, low), 0.02)
        for sx in (-1, 1)
        for sy in (-1, 1)
    ]
    return union(*parts)


def bed(rng: Rng) -> Mesh:
    """Return a bed: mattress, frame, head and foot, pillows; also cots, bunks and posts."""
    kind = pick(rng, plain=8, cot=1, bunk=1, posts=0.7)
    width = between(rng, 0.8, 1.2) if chance(rng, 0.4) else between(rng, 1.3, 2.0)
    length = between(rng, 1.9, 2.2)
    if kind == "cot":
        width, length = between(rng, 0.6, 0.8), between(rng, 1.1, 1.5)
    elif kind == "bunk":
        width = between(rng, 0.8, 1.0)
    x, y = width / 2, length / 2
    low = between(rng, 0.0, 0.3)
    base, deep = low + between(rng, 0.06, 0.25), between(rng, 0.1, 0.3)
    top = base + deep
    parts = [block((-x, x), (-y, y), (low, base)), cushion((-x * 0.97, x * 0.97), (-y, y), (base, top), 8.0)]
    if low > 0.02:
        parts.append(corner_legs(rng, width, length, low + 0.01, between(rng, 0.02, 0.05)))
    if kind == "cot":
        return union(*parts, *_rails(rng, x, y, base, base + between(rng, 0.5, 0.7)))
    if kind == "bunk":
        rise = between(rng, 0.9, 1.2)
        upper = [moved(part, z=rise) for part in parts[:2]]
        corners = [
            rod((a * x, b * y, 0), (a * x, b * y, top + rise + 0.25), 0.035, sides=4)
            for a in (-1, 1)
            for b in (-1, 1)
        ]
        ladder = [rod((x, -y * 0.5, z), (x, -y * 0.25, z), 0.015) for z in np.linspace(0.3, top + rise, 5)]
        return union(*parts, *upper, *corners, *ladder)
    parts += _bedding(rng, x, y, top)
    parts.append(_end(rng, x, y, low, top + between(rng, 0.15, 0.8)))
    if chance(rng, 0.5):
        parts.append(_end(rng, x, -y, low, top + between(rng, -0.05, 0.35)))
    if kind == "posts":
        tall = between(rng, 1.5, 2.1)
        parts += [rod((a * x, b * y, 0), (a * x, b * y, tall), 0.035) for a in (-1, 1) for b in (-1, 1)]
        parts += [rod((-x, b * y, tall), (x, b * y, tall), 0.03, sides=4) for b in (-1, 1)]
        parts += [rod((a * x, -y, tall), (a * x, y, tall), 0.03, sides=4) for a in (-1, 1)]
    return union(*parts)


def _bedding(rng: Rng, x: float, y: float, top: float) -> list[Mesh]:
    parts, count = [], 2 if x > 0.6 else 1
    if chance(rng, 0.8):
        deep, tall = between(rng, 0.3, 0.5), between(rng, 0.08, 0.18)
        edges = np.linspace(-x * 0.93, x * 0.93, count + 1)
        for left, right in itertools.pairwise(edges):
            parts.append(
                cushion((left + 0.03, right - 0.03), (y - deep - 0.05, y - 0.05), (top, top + tall), 2.5)
            )
    if chance(rng, 0.6):  # a blanket that hangs over the sides
        drop, z = between(rng, 0.05, 0.35), top + between(rng, 0.01, 0.05)
        parts.append(
            block((-x * 1.03, x * 1.03), (-y * 1.01, y * between(rng, 0.3, 0.6)), (max(0.02, z - drop), z))
        )
    return parts


def _end(rng: Rng, x: float, y: float, low: float, top: float) -> Mesh:
    """Return the head or the foot of a bed: a board, a padded one, or bars."""
    thick = between(rng, 0.02, 0.06)
    kind = pick(rng, board=3, padded=1.5, bars=1.5, arch=1)
    span = (y - thick, y + thick)
    if kind == "padded":
        return cushion((-x * 1.03, x * 1.03), (y - thick * 2, y + thick * 2), (low, top), 6.0)
    if kind == "bars":
        return union(*_grid(x, y, low, top, int(rng.integers(4, 12)), between(rng, 0.008, 0.02)))
    if kind == "arch":
        half = outline(2 * x, 2 * (top - low), 2.5, 32)
        board = slab(np.stack([half[:, 0], np.maximum(half[:, 1], 0)], axis=1), span)
        a, b, c = board.vertices.T  # its outline is in the plane of x and z
        return Mesh(np.stack([a, c, b + low], axis=1), board.triangles)
    return block((-x, x), span, (low if chance(rng, 0.5) else 0.0, top))


def _grid(x: float, y: float, low: float, top: float, bars: int, thick: float) -> list[Mesh]:
    """Return upright bars between two rails, at one y."""
    upright = [rod((at, y, low), (at, y, top), thick, sides=6) for at in np.linspace(-x, x, bars)]
    return [*upright, *(rod((-x, y, z), (x, y, z), thick * 1.3, sides=6) for z in (low + 0.02, top))]


def _rails(rng: Rng, x: float, y: float, low: float, top: float) -> list[Mesh]:
    """Return the bars around a cot."""
    bars, thick = int(rng.integers(8, 16)), between(rng, 0.006, 0.012)
    sides = [moved(union(*_grid(y, x, low, top, bars, thick)), turn=s * np.pi / 2) for s in (-1, 1)]
    return [*sides, *(union(*_grid(x, s * y, low, top, bars // 2, thick)) for s in (-1, 1))]
