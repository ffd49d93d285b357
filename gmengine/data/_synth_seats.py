"""Chairs and sofas; they look towards -y."""

from __future__ import annotations

import itertools

import numpy as np

from gmengine.data._synth_parts import (
    Rng,
    between,
    chance,
    corner_legs,
    office_base,
    pedestal,
    pick,
    plate,
    sled_legs,
    top_shape,
)
from gmengine.data._synth_solids import block, cushion, loft, rod, slab, tilted, union
from gmengine.data.formats.mesh import Mesh


def chair(rng: Rng) -> Mesh:
    """Return a chair: on legs, a sled, a column or castors; an armchair; or one to lie in."""
    kind = pick(rng, legs=5, sled=1, office=1.5, column=0.7, padded=3, lounge=0.8)
    if kind == "padded":
        return _padded(rng, between(rng, 0.6, 1.0))
    if kind == "lounge":
        return _lounge(rng)
    width, depth = between(rng, 0.38, 0.56), between(rng, 0.38, 0.56)
    height = between(rng, 0.40, 0.50) if chance(rng, 0.9) else between(rng, 0.55, 0.8)
    thick = between(rng, 0.02, 0.05) if kind != "office" else between(rng, 0.05, 0.1)
    parts = [_seat(rng, width, depth, height, thick)]
    under = height - thick
    if kind == "legs":
        parts.append(corner_legs(rng, width, depth, under, between(rng, 0.012, 0.03)))
    elif kind == "sled":
        parts.append(sled_legs(width, depth, under, between(rng, 0.01, 0.018)))
    elif kind == "office":
        parts.append(office_base(rng, under, between(rng, 0.25, 0.35)))
    else:
        parts.append(pedestal(rng, under, between(rng, 0.18, 0.28)))
    parts.append(_back(rng, width, depth, height, between(rng, 0.3, 0.65)))
    if chance(rng, 0.5 if kind == "office" else 0.3):
        parts.append(_arms(rng, width, depth, height))
    return union(*parts)


def _seat(rng: Rng, width: float, depth: float, height: float, thick: float) -> Mesh:
    if chance(rng, 0.35):
        half, deep = width / 2, depth / 2
        return cushion((-half, half), (-deep, deep), (height - thick, height + between(rng, 0, 0.04)))
    return slab(top_shape(rng, width, depth, 0.2), (height - thick, height))


def _back(rng: Rng, width: float, depth: float, height: float, tall: float) -> Mesh:
    """Return a back of posts and rungs, slats, a panel, or a curved shell."""
    y, top, thick = depth / 2 - 0.015, height + tall, between(rng, 0.01, 0.03)
    kind = pick(rng, panel=3, slats=2, rungs=2, shell=2)
    x = width / 2 - thick
    if kind == "shell":
        back = _shell(rng, width, y, (height - 0.02, top), thick)
    elif kind == "panel":
        low = height + (between(rng, 0.05, 0.25) if chance(rng, 0.6) else 0.0)
        panel = cushion if chance(rng, 0.4) else block
        back = panel((-width / 2, width / 2), (y - thick, y + thick), (min(low, top - 0.12), top))
        back = union(
            back, *(rod((s * x * 0.8, y, height - 0.03), (s * x * 0.8, y, top), 0.012) for s in (-1, 1))
        )
    else:
        bars = [rod((s * x, y, height - 0.03), (s * x, y, top), thick, sides=6) for s in (-1, 1)]
        if kind == "slats":
            bars += [block((-x, x), (y - 0.01, y + 0.01), (z, z + 0.05)) for z in (height + 0.04, top - 0.06)]
            for at in np.linspace(-x, x, int(rng.integers(3, 8)) + 2)[1:-1]:
                bars.append(rod((at, y, height + 0.05), (at, y, top - 0.05), 0.008, sides=4))
        else:
            count = int(rng.integers(2, 6))
            wide = between(rng, 0.02, 0.8 * tall / count)
            for z in np.linspace(height + 0.1, top - wide, count):
                bars.append(block((-x, x), (y - 0.01, y + 0.01), (z, z + wide)))
        back = union(*bars)
    return tilted(back, between(rng, 0.0, 0.3), y, height)


def _shell(rng: Rng, width: float, y: float, z: tuple[float, float], thick: float) -> Mesh:
    """Return a back that bends around the sitter."""
    bend = between(rng, 0.04, 0.25)
    x = np.linspace(-width / 2, width / 2, 9)
    curve = y - bend * (2 * x / width) ** 2
    ring = np.concatenate([np.stack([x, curve], 1), np.stack([x, curve + thick], 1)[::-1]])
    narrow = ring * [between(rng, 0.6, 1.0), 1.0]
    rings = [
        np.column_stack([r, np.full(len(ring), h)])
        for r, h in ((ring, z[0]), (ring, sum(z) / 2), (narrow, z[1]))
    ]
    return loft(np.array(rings))


def _arms(rng: Rng, width: float, depth: float, height: float) -> Mesh:
    rise, thick = between(rng, 0.15, 0.26), between(rng, 0.012, 0.03)
    parts = []
    for x in (-width / 2, width / 2):
        parts.append(
            block((x - thick, x + thick), (-depth / 2, depth / 2), (height + rise - thick, height + rise))
        )
        for y in (-depth * 0.4, depth * 0.4)[: 1 + int(chance(rng, 0.6))]:
            parts.append(rod((x, y, height - 0.02), (x, y, height + rise), thick * 0.8, sides=6))
    return union(*parts)


def _lounge(rng: Rng) -> Mesh:
    """Return a deck chair: seat and back in one line of slats or cloth, low arms."""
    width, length, lean = between(rng, 0.5, 0.7), between(rng, 0.8, 1.3), between(rng, 0.5, 1.1)
    height, thick = between(rng, 0.25, 0.4), between(rng, 0.01, 0.05)
    half, back = width / 2, between(rng, 0.6, 0.95)
    seat = block((-half, half), (-length / 2, length * 0.2), (height - thick, height))
    rest = block((-half, half), (length * 0.2 - thick, length * 0.2), (height - thick, height + back))
    rest = tilted(rest, lean, length * 0.2, height)
    legs = corner_legs(rng, width, length * 0.8, height, between(rng, 0.015, 0.03))
    parts = [seat, rest, legs]
    if chance(rng, 0.6):
        parts.append(_arms(rng, width, length * 0.6, height))
    return union(*parts)


def _padded(rng: Rng, width: float, cushions: int = 1) -> Mesh:
    """Return an armchair or sofa: plinth or feet, seat, back and arms, all thick."""
    depth, seat = between(rng, 0.65, 1.0), between(rng, 0.34, 0.46)
    arm = between(rng, 0.08, 0.26) if chance(rng, 0.9) else 0.0
    back, top = between(rng, 0.12, 0.28), between(rng, 0.65, 1.05)
    foot = between(rng, 0.04, 0.16) if chance(rng, 0.6) else 0.0
    side, y = width / 2, depth / 2
    soft = cushion if chance(rng, 0.5) else block
    parts = [block((-side + arm, side - arm), (-y, y - 0.02), (foot, seat - 0.12))]
    edges = np.linspace(-side + arm, side - arm, cushions + 1)
    loose = chance(rng, 0.6)
    for left, right in itertools.pairwise(edges):
        parts.append(cushion((left, right), (-y, y - back), (seat - 0.13, seat)))
        if loose:
            pad = cushion((left, right), (y - back - 0.15, y - back), (seat, top - 0.05))
            parts.append(tilted(pad, between(rng, 0.0, 0.2), y - back, seat))
    rest = soft((-side + arm * 0.5, side - arm * 0.5), (y - back, y), (foot, top))
    parts.append(tilted(rest, between(rng, 0.0, 0.2), y - back, seat))
    if arm:
        parts.append(_padded_arms(rng, side, arm, y, foot, seat + between(rng, 0.08, 0.28)))
    if foot:
        parts.append(corner_legs(rng, width, depth, foot + 0.01, between(rng, 0.015, 0.04)))
    return union(*parts)


def _padded_arms(rng: Rng, side: float, arm: float, y: float, foot: float, top: float) -> Mesh:
    kind = pick(rng, box=2, round=2, roll=1)
    parts = []
    for s in (-1, 1):
        x = (min(s * side, s * (side - arm)), max(s * side, s * (side - arm)))
        if kind == "roll":
            parts.append(block(x, (-y, y), (foot, top - arm / 2)))
            parts.append(
                rod((sum(x) / 2, -y, top - arm / 2), (sum(x) / 2, y, top - arm / 2), arm * 0.6, sides=12)
            )
        else:
            parts.append((block if kind == "box" else cushion)(x, (-y, y), (foot, top)))
    return union(*parts)


def sofa(rng: Rng) -> Mesh:
    """Return a sofa for two to four, sometimes with a corner or a footstool that belongs to it."""
    cushions = int(rng.integers(1, 5))
    width = between(rng, 1.25, 1.8) if cushions <= 2 else between(rng, 1.7, 2.7)
    if chance(rng, 0.12):
        return _bench_sofa(rng, width)
    body = _padded(rng, width, cushions)
    if chance(rng, 0.25):
        deep, wide = between(rng, 0.5, 1.5), between(rng, 0.6, 0.9)
        height, s = between(rng, 0.35, 0.46), int(rng.choice([-1, 1]))
        middle, front = s * (width - wide) / 2, -between(rng, 0.32, 0.45)
        x, y = (middle - wide / 2, middle + wide / 2), (front - deep, front)
        parts = [body, block(x, y, (0.04, height - 0.12)), cushion(x, y, (height - 0.13, height))]
        if chance(rng, 0.6):  # the back goes around the corner
            outside = (x[1] - 0.2, x[1]) if s > 0 else (x[0], x[0] + 0.2)
            parts.append(block(outside, y, (0.04, between(rng, 0.65, 0.9))))
        return union(*parts)
    return body


def _bench_sofa(rng: Rng, width: float) -> Mesh:
    """Return a sofa with an open frame: cushions on a plate, thin legs."""
    depth, seat = between(rng, 0.6, 0.9), between(rng, 0.36, 0.45)
    half, y = width / 2, depth / 2
    thick = between(rng, 0.1, 0.18)
    rest = cushion((-half, half), (y - thick, y), (seat, seat + between(rng, 0.3, 0.5)))
    parts = [
        cushion((-half, half), (-y, y), (seat - thick, seat)),
        tilted(rest, between(rng, 0.1, 0.35), y, seat),
        plate(width, depth, (seat - thick - 0.03, seat - thick)),
        corner_legs(rng, width, depth, seat - thick - 0.03, between(rng, 0.015, 0.03)),
    ]
    if chance(rng, 0.6):
        parts.append(_arms(rng, width, depth, seat))
    return union(*parts)
