"""Tables, desks and what stands on them: monitors. Users sit at -y."""

from __future__ import annotations

import numpy as np

from gmengine.data._synth_parts import (
    Rng,
    between,
    chance,
    corner_legs,
    fronts,
    pedestal,
    pick,
    plate,
    sled_legs,
    table_top,
)
from gmengine.data._synth_solids import block, moved, outline, rod, slab, stack, tilted, union
from gmengine.data.formats.mesh import Mesh


def table(rng: Rng) -> Mesh:
    """Return a dining, coffee or bar table."""
    size = pick(rng, dining=4, coffee=3, bar=0.7, small=1.5)
    low, high = {"dining": (0.7, 0.8), "coffee": (0.3, 0.5), "bar": (0.9, 1.15), "small": (0.5, 0.78)}[size]
    height = between(rng, low, high)
    width = between(rng, 0.5, 0.9) if size in ("bar", "small") else between(rng, 0.8, 2.2)
    depth = width * between(rng, 0.4, 1.0)
    kind = pick(rng, legs=5, column=2, panels=1, trestle=1, sled=1)
    if kind == "column":
        depth = width * (1.0 if chance(rng, 0.7) else between(rng, 0.6, 1.0))
    top, thick = table_top(rng, width, depth, height, 0.75 if kind == "column" else 0.2)
    under, inset = height - thick, between(rng, 0.8, 1.0)
    parts = [top]
    if kind == "legs":
        parts.append(corner_legs(rng, width * inset, depth * inset, under, between(rng, 0.015, 0.05)))
        if chance(rng, 0.5):
            parts.append(_apron(rng, width * inset, depth * inset, under))
        if chance(rng, 0.2):
            z = under * between(rng, 0.2, 0.5)
            parts.append(plate(width * inset * 0.9, depth * inset * 0.9, (z, z + 0.02)))
    elif kind == "column":
        parts.append(pedestal(rng, under, depth * between(rng, 0.25, 0.42)))
        if width > 1.6 * depth:
            parts = [top, *(moved(parts[1], x=s * width * 0.28) for s in (-1, 1))]
    elif kind == "panels":
        for s in (-1, 1):
            x = s * width * inset / 2
            parts.append(block((x - 0.02, x + 0.02), (-depth * 0.45, depth * 0.45), (0, under)))
    elif kind == "trestle":
        parts.append(_trestles(rng, width * inset, depth, under))
    else:
        parts.append(sled_legs(width * inset, depth * inset, under, between(rng, 0.012, 0.03)))
    return union(*parts)


def _apron(rng: Rng, width: float, depth: float, under: float) -> Mesh:
    tall, x, y = between(rng, 0.05, 0.12), width / 2 - 0.04, depth / 2 - 0.04
    z = (under - tall, under)
    boards = [block((-x, x), (s * y - 0.01, s * y + 0.01), z) for s in (-1, 1)]
    boards += [block((s * x - 0.01, s * x + 0.01), (-y, y), z) for s in (-1, 1)]
    return union(*boards)


def _trestles(rng: Rng, width: float, depth: float, under: float) -> Mesh:
    thick, crossed = between(rng, 0.015, 0.035), chance(rng, 0.5)
    bars, x, y = [], width * 0.38, depth * 0.4
    for at in (-x, x):
        for s in (-1, 1):
            bars.append(rod((at, s * y, 0), (at, -s * y if crossed else s * y * 0.2, under), thick, sides=4))
    bars.append(rod((-x, 0, under / 2), (x, 0, under / 2), thick, sides=4))
    return union(*bars)


def desk(rng: Rng) -> Mesh:
    """Return a desk: a top with drawers or panels below, sometimes shelves above, sometimes with a corner."""
    width, depth, height = between(rng, 0.9, 1.9), between(rng, 0.5, 0.9), between(rng, 0.70, 0.79)
    thick = between(rng, 0.018, 0.05)
    under, x, y = height - thick, width / 2, depth / 2
    parts = [plate(width, depth, (under, height))]
    kind = pick(rng, one=4, two=3, panels=2, thin=1.5)
    wide, low = between(rng, 0.3, 0.5), between(rng, 0.0, 0.12)
    sides = {"one": [int(rng.choice([-1, 1]))], "two": [-1, 1]}.get(kind, [])
    for s in sides:
        span = (min(s * x, s * (x - wide)), max(s * x, s * (x - wide)))
        parts.append(block(span, (-y * 0.92, y * 0.95), (low, under)))
        parts.append(fronts(rng, span, (low, under), -y * 0.92, int(rng.integers(2, 5)), 1))
    for s in {-1, 1} - set(sides):
        if kind == "thin" or chance(rng, 0.35):
            parts += [
                rod((s * (x - 0.04), e * (y - 0.04), under), (s * (x - 0.04), e * (y - 0.04), 0), 0.02)
                for e in (-1, 1)
            ]
        else:
            parts.append(block((s * x - 0.012 - 0.012 * s, s * x + 0.012 - 0.012 * s), (-y, y), (0, under)))
    if kind != "thin" or chance(rng, 0.4):
        bottom = under * between(rng, 0.0, 0.65)
        parts.append(block((-x, x), (y * 0.9 - 0.02, y * 0.9), (bottom, under)))
    if kind == "thin" and chance(rng, 0.7):
        parts.append(block((-x * 0.8, x * 0.8), (-y * 0.9, y * 0.8), (under - 0.12, under)))
        parts.append(fronts(rng, (-x * 0.8, x * 0.8), (under - 0.12, under), -y * 0.9, 1, 2))
    return union(*parts, *_desk_extras(rng, x, y, height, under))


def _desk_extras(rng: Rng, x: float, y: float, height: float, under: float) -> list[Mesh]:
    parts = []
    if chance(rng, 0.25):  # shelves on top, at the back
        top, deep = height + between(rng, 0.25, 0.8), between(rng, 0.15, 0.32)
        count = int(rng.integers(1, 4))
        parts += [
            block((-x, x), (y - deep, y), (z - 0.02, z)) for z in np.linspace(top, height, count + 1)[:-1]
        ]
        parts += [block((s * x - 0.01, s * x + 0.01), (y - deep, y), (height, top)) for s in (-1, 1)]
    if chance(rng, 0.25):  # a wing
        s, deep = int(rng.choice([-1, 1])), between(rng, 0.4, 0.9)
        wing = (min(s * x, s * (x - 0.5)), max(s * x, s * (x - 0.5)))
        parts.append(block(wing, (-y - deep, -y), (under, height)))
        parts.append(block(wing, (-y - deep, -y - deep + 0.03), (0, under)))
    if chance(rng, 0.2):
        parts.append(block((-0.3, 0.3), (-y - 0.1, -y + 0.2), (under - 0.08, under - 0.06)))
    return parts


def monitor(rng: Rng) -> Mesh:
    """Return a flat screen on a foot, on a wall, or one of tubes."""
    kind = pick(rng, flat=6, wall=1, tube=2, allinone=1)
    width = between(rng, 0.35, 1.3) if kind != "tube" else between(rng, 0.35, 0.75)
    tall = width * (between(rng, 0.55, 0.68) if chance(rng, 0.7) else between(rng, 0.68, 0.85))
    lift = between(rng, 0.03, 0.18) * width / 0.5
    if kind == "tube":
        return _tube(rng, width, tall)
    thick = between(rng, 0.02, 0.09)
    screen = block((-width / 2, width / 2), (-thick / 2, thick / 2), (lift, lift + tall))
    frame = between(rng, 0.01, 0.05)
    glass = block(
        (-width / 2 + frame, width / 2 - frame),
        (-thick / 2 - 0.004, -thick / 2),
        (lift + frame, lift + tall - frame),
    )
    parts = [screen, glass]
    if chance(rng, 0.5):
        half = width * between(rng, 0.2, 0.4)
        parts.append(
            block(
                (-half, half),
                (thick / 2, thick / 2 + between(rng, 0.02, 0.1)),
                (lift + tall * 0.2, lift + tall * 0.8),
            )
        )
    panel = tilted(union(*parts), between(rng, -0.05, 0.2), 0.0, lift)
    return panel if kind == "wall" else union(panel, _foot(rng, width, tall, lift, thick))


def _foot(rng: Rng, width: float, tall: float, lift: float, thick: float) -> Mesh:
    kind = pick(rng, plate=3, oval=3, vee=1.5, bar=1.5)
    back, neck = thick / 2 + 0.02, between(rng, 0.015, 0.05)
    column = block(
        (-neck * 1.5, neck * 1.5), (back - neck, back + neck), (0, lift + tall * between(rng, 0.1, 0.5))
    )
    reach, deep = width * between(rng, 0.35, 0.7), between(rng, 0.15, 0.3) * max(1.0, width)
    if kind == "vee":
        parts = [rod((0, back, 0.02), (s * reach / 2, back - deep, 0.01), 0.015, sides=6) for s in (-1, 1)]
        return union(column, *parts)
    if kind == "bar":
        parts = [
            block((s * width * 0.3 - 0.02, s * width * 0.3 + 0.02), (-deep / 2, deep / 2), (0, lift))
            for s in (-1, 1)
        ]
        return union(*parts)
    shape = outline(reach, deep, 2.0 if kind == "oval" else 20.0)
    return union(column, slab(shape, (0, between(rng, 0.008, 0.025))))


def _tube(rng: Rng, width: float, tall: float) -> Mesh:
    """Return a screen whose case narrows to the back."""
    deep, narrow = width * between(rng, 0.6, 1.0), between(rng, 0.35, 0.7)
    face, corners = outline(width, tall, 10.0), between(rng, 4, 10)
    middle = outline(width * 0.95, tall * 0.95, corners)
    back = outline(width * narrow, tall * narrow, corners)
    case = stack([face, face, middle, back], [0, deep * 0.25, deep * 0.4, deep])
    x, z, y = case.vertices.T  # it was built lying on its face
    lift = tall / 2 + between(rng, 0.0, 0.08)
    case = Mesh(np.stack([x, y, z + lift], axis=1), case.triangles)
    foot = slab(outline(width * 0.6, deep * 0.6, 2.0), (0, 0.03))
    return union(
        case, moved(foot, y=deep * 0.4), rod((0, deep * 0.4, 0), (0, deep * 0.4, lift), width * 0.12)
    )
