"""Bathtubs and toilets: lofted bowls. A toilet's tank is at +y."""

from __future__ import annotations

import numpy as np

from gmengine.data._synth_parts import Rng, between, chance, pick, tub
from gmengine.data._synth_solids import block, cushion, outline, rod, slab, tilted, union
from gmengine.data.formats.mesh import Mesh


def bathtub(rng: Rng) -> Mesh:
    """Return a bathtub: built in, standing free, on feet, or in a corner."""
    length, width, height = between(rng, 1.3, 1.9), between(rng, 0.65, 0.95), between(rng, 0.42, 0.65)
    kind = pick(rng, builtin=4, free=3, feet=1.5, corner=1.5)
    corners = between(rng, 2.2, 8.0)
    if kind == "corner":
        length = width = between(rng, 1.2, 1.6)
    low = between(rng, 0.08, 0.18) if kind == "feet" else 0.0
    rim, floor = between(rng, 0.03, 0.12), low + between(rng, 0.05, 0.15)
    taper = between(rng, 0.65, 0.95)
    inside = outline(length - 2 * rim, width - 2 * rim, corners)
    inner = [
        (inside, height),
        (inside * (1 + taper) / 2, (height + floor) / 2),
        (inside * taper * 0.9, floor),
    ]
    if kind == "corner":
        body = tub(*_cornered(length, height, floor, rim))
    elif kind == "builtin":
        box = outline(length, width, 40.0)
        body = tub([(box, 0.0), (box, height)], inner)
    else:
        shape = outline(length, width, corners)
        middle = (1 + taper) / 2 * between(rng, 0.95, 1.05)
        body = tub([(shape * taper, low), (shape * middle, (low + height) / 2), (shape, height)], inner)
    parts = [body]
    if kind == "feet":
        x, y = length * taper * 0.36, width * taper * 0.33
        parts += [
            rod((a * x, b * y, low + 0.03), (a * x * 1.1, b * y * 1.1, 0), 0.03, 0.02)
            for a in (-1, 1)
            for b in (-1, 1)
        ]
    if chance(rng, 0.5):
        parts.append(_tap(rng, length / 2 - rim / 2, height))
    return union(*parts)


def _cornered(
    side: float, height: float, floor: float, rim: float
) -> tuple[list[tuple[np.ndarray, float]], ...]:
    """Return outlines of a tub in the corner of a room: two straight sides and a round one."""
    shape = outline(2.0, 2.0, 2.6, 32)
    shape = np.maximum(shape, -0.55) * (side / 1.55)
    inside = outline(side * 0.95 - 2 * rim, side * 0.8 - 2 * rim, 2.4, 32)
    c = np.sqrt(0.5)
    inside = inside @ np.array([[c, -c], [c, c]]) * 0.95
    inner = [(inside, height), (inside * 0.9, (height + floor) / 2), (inside * 0.75, floor)]
    return [(shape, 0.0), (shape, height)], inner


def _tap(rng: Rng, x: float, height: float) -> Mesh:
    rise, reach = between(rng, 0.08, 0.3), between(rng, 0.1, 0.2)
    top = height + rise
    return union(
        rod((x, 0, height - 0.02), (x, 0, top), 0.015), rod((x, 0, top), (x - reach, 0, top - 0.02), 0.013)
    )


def toilet(rng: Rng) -> Mesh:
    """Return a toilet: bowl, seat, lid open or closed, and mostly a tank."""
    width, length = between(rng, 0.34, 0.42), between(rng, 0.42, 0.55)
    height, corners = between(rng, 0.37, 0.46), between(rng, 2.0, 3.2)
    shape = outline(width, length, corners)
    kind = pick(rng, foot=4, straight=2, hung=1)
    foot = between(rng, 0.5, 0.8)
    back = np.array([0.0, length * between(rng, 0.05, 0.2)])
    if kind == "foot":
        outer = [
            (shape * foot + back, 0.0),
            (shape * foot * 0.9 + back, height * 0.35),
            (shape * 0.95, height * 0.75),
        ]
    elif kind == "straight":
        outer = [(shape * 0.85 + back * 0.5, 0.0), (shape * 0.95 + back * 0.2, height * 0.5)]
    else:
        low = height * between(rng, 0.15, 0.4)
        outer = [(shape * 0.6 + back, low), (shape * 0.95, (low + height) / 2)]
    hole = shape * between(rng, 0.68, 0.8)
    inner = [(hole, height), (hole * 0.85, height * 0.8), (hole * 0.35 + back * 0.5, height * 0.5)]
    parts = [tub([*outer, (shape, height)], inner)]
    parts.append(
        tub([(shape * 1.03, height), (shape * 1.03, height + 0.02)], [(hole, height + 0.02), (hole, height)])
    )
    lid = slab(shape * 1.03, (height + 0.02, height + 0.04))
    if chance(rng, 0.6):
        parts.append(lid)
    elif chance(rng, 0.7):
        parts.append(tilted(lid, between(rng, 1.4, 1.75), length / 2, height + 0.03))
    parts += _behind(rng, width, length, height, kind)
    return union(*parts)


def _behind(rng: Rng, width: float, length: float, height: float, kind: str) -> list[Mesh]:
    y = length / 2 - 0.04
    if kind == "hung" and chance(rng, 0.7):
        return [block((-width * 0.3, width * 0.3), (y, y + between(rng, 0.05, 0.12)), (height * 0.3, height))]
    wide, deep = between(rng, 0.34, 0.5), between(rng, 0.15, 0.22)
    low = height + (0.0 if chance(rng, 0.8) else between(rng, 0.1, 0.3))
    tall = between(rng, 0.28, 0.45)
    span, depth = (-wide / 2, wide / 2), (y + 0.02, y + 0.02 + deep)
    tank = (cushion if chance(rng, 0.4) else block)(span, depth, (low, low + tall))
    lid = block(
        (-wide / 2 - 0.01, wide / 2 + 0.01),
        (depth[0] - 0.01, depth[1] + 0.01),
        (low + tall, low + tall + 0.025),
    )
    neck = block(
        (-width * 0.35, width * 0.35), (y - 0.06, depth[1]), (height * 0.3 if chance(rng, 0.5) else 0.0, low)
    )
    return [tank, lid, neck]
