"""One component on one plane of a grid, line by line: a loop of scalars around the vectors of `_render_lines`."""

import math
from typing import NamedTuple

import numpy as np

from gmengine.cpu._compile import helper
from gmengine.cpu._exp2 import exp2
from gmengine.cpu._render_lines import add_line, line_moments

RUN = 4096  # cells of a line whose sums are taken in the cells' own dtype, before they are added in float64


class Plane(NamedTuple):
    """The last two axes, u and v, of a component, given its other coordinates, which make up the `fall` of y.y.

    place: flat index of the plane's cell (0, 0); stride: from line to line; steep: A_kk; slope: of centre_v along u.
    """

    place: int
    stride: int
    lower_u: int
    upper_u: int
    lower_v: int
    upper_v: int
    mean_u: float
    centre_u: float
    centre_v: float
    steep_u: float
    steep_v: float
    slope: float
    cutoff: float
    fall: float


@helper
def _clipped(value, lower, upper):
    """Return int(value) within [lower, upper]; `lower` for NaN."""
    if not value > lower:
        return lower
    return upper if value > upper else int(value)


@helper
def interval(centre, reach, lower, upper):
    """Return the first and the past-the-last cell within `reach` of `centre`, as far as they are in a box."""
    first = _clipped(np.ceil(centre - reach), lower, upper)
    return first, _clipped(np.floor(centre + reach) + 1.0, lower, upper)


@helper
def _lines(p):
    """Return the first and the past-the-last line of a plane."""
    reach = math.sqrt(max(p.cutoff - p.fall, 0.0)) / p.steep_u
    return interval(p.centre_u, reach, p.lower_u, p.upper_u)


@helper
def _line(i, p, flat):
    """Return y_u of line i, y.y but for z^2, and the line: flat index, length, first cell, offset (see `add_line`)."""
    y = p.steep_u * (i - p.centre_u)
    fall = p.fall + y * y
    centre = p.centre_v - p.slope * (i - p.mean_u)
    at, end = interval(centre, math.sqrt(max(p.cutoff - fall, 0.0)) * flat, p.lower_v, p.upper_v)
    nearest = _clipped(centre + 0.5, at, end - 1)
    return y, fall, p.place + i * p.stride + at, end - at, at - nearest, p.steep_v * (nearest - centre)


@helper
def add_plane(p, amplitude, sums, like):
    """Add amplitude 2^(-y.y) to the cells of a plane; sums: flat, float64."""
    first, last = _lines(p)
    flat = 1.0 / p.steep_v
    for i in range(first, last):
        _, fall, place, n, begins, z = _line(i, p, flat)
        if n > 0:
            add_line(sums, place, n, begins, z, p.steep_v, amplitude * exp2(-fall), like)


@helper
def plane_moments(p, g, like):
    """Return the sums over a plane of g 2^(-y.y) times 1, y_u, y_v, y_u^2, y_u y_v, y_v^2; g: flat."""
    m, mu, mv, muu, muv, mvv = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    first, last = _lines(p)
    flat = 1.0 / p.steep_v
    for i in range(first, last):
        y, fall, place, n, begins, z = _line(i, p, flat)
        if n > 0:
            s, sv, svv = 0.0, 0.0, 0.0
            for at in range(0, n, RUN):
                part = line_moments(g, place + at, min(RUN, n - at), begins + at, z, p.steep_v, like)
                s, sv, svv = s + part[0], sv + part[1], svv + part[2]
            e = exp2(-fall)
            m += e * s
            mv += e * sv
            mvv += e * svv
            mu += e * s * y
            muv += e * sv * y
            muu += e * s * y * y
    return m, mu, mv, muu, muv, mvv
