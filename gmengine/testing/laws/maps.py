"""Laws of maps ``fn: Mixture -> Mixture``, such as `relu` and `reduce` with their other arguments bound."""

from __future__ import annotations

from typing import Any

import numpy as np

from gmengine.backend import Array, namespace
from gmengine.mixture import Mixture
from gmengine.ops.affine import affine, scale, translate
from gmengine.testing import oracles
from gmengine.testing.assertions import asnumpy, assert_close, assert_mixtures_close
from gmengine.testing.laws._common import Map, moved, padded, permuted, stretched, triple


def map_follows_translation(fn: Map, m: Mixture, shift: Array, condition: float = 10.0) -> None:
    """Map, then move, is move, then map."""
    got, want = fn(translate(m, shift)), translate(fn(m), shift)
    assert_mixtures_close("solve", got, want, size=m.n_components, condition=64 * condition)


def map_follows_scale(fn: Map, m: Mixture, factor: float, condition: float = 10.0) -> None:
    """Map, then stretch space, is stretch, then map."""
    got, want = fn(scale(m, factor)), scale(fn(m), factor)
    assert_mixtures_close("solve", got, want, size=m.n_components, condition=4 * condition)


def map_is_homogeneous(fn: Map, m: Mixture, factor: float, condition: float = 10.0) -> None:
    """``fn(factor m) = factor fn(m)`` for factor > 0."""
    assert_mixtures_close("solve", fn(m * factor), fn(m) * factor, size=m.n_components, condition=condition)


def map_ignores_order(fn: Map, m: Mixture, order: Any, condition: float = 10.0) -> None:
    """The result is the same set of components, whatever the order of the input's."""
    got, want = fn(permuted(m, order)), fn(m)
    assert_mixtures_close("solve", got, want, any_order=True, size=m.n_components, condition=condition)


def map_ignores_absent(fn: Map, m: Mixture, value: float = 0.0, condition: float = 1.0) -> None:
    """Appended absent components change nothing and stay absent, whatever else they hold."""
    got, want = asnumpy(fn(padded(m, 3, value))), asnumpy(fn(m))
    assert_mixtures_close("solve", got, want, any_order=True, size=m.n_components, condition=condition)


def map_treats_mixtures_alone(fn: Map, m: Mixture, condition: float = 10.0) -> None:
    """What becomes of a mixture does not depend on the others of its batch."""
    got = fn(m)
    assert got.batch == m.batch, f"batch {got.batch} instead of {m.batch}"
    for b in np.ndindex(*m.batch):
        alone = fn(m[b])
        assert_mixtures_close(
            "solve", got[b], alone, any_order=True, size=m.n_components, condition=condition
        )


def map_is_exact_far_from_the_origin(fn: Map, m: Mixture, shift: int = 1024, condition: float = 10.0) -> None:
    """Far from the origin the same happens to weights and covariances, and means move along.

    Means are rounded to multiples of 2^-10 first, so that adding an integer up to 2^11 is exact in float32: an
    error is one of the map, such as the cancellation in E[x x^T] - E[x] E[x]^T. That is of the size of eps
    shift^2; allowed is what follows from new means that are rounded, eps shift times the extent of the means.
    """
    grid = 2.0**10
    near = Mixture(m.weights, namespace(m.means).round(m.means * grid) / grid, m.covariances)
    got, want = asnumpy(fn(moved(near, float(shift)))), asnumpy(moved(fn(near), float(shift)))
    present = want.weights != 0
    np.testing.assert_array_equal(got.weights != 0, present, err_msg="presence of components")
    means = asnumpy(near.means)[asnumpy(m.weights) != 0]
    extent = np.ptp(means, axis=0).max() if len(means) else 0.0
    largest = np.max(np.abs(want.covariances[present]), initial=0.0)
    for name, unit in (
        ("weights", np.max(np.abs(want.weights), initial=0.0)),
        ("means", abs(shift) + np.max(np.abs(want.means[present]), initial=0.0)),
        ("covariances", largest + abs(shift) * extent),
    ):
        a, b = getattr(got, name)[present], getattr(want, name)[present]
        assert_close("solve", a, b, size=m.n_components, condition=16 * condition, scale=unit, name=name)


def translation_moves_means(m: Mixture, shift: Array, *, translate: Any = translate) -> None:
    """``translate(m, t)``: t is added to every mean, and nothing else changes."""
    assert_mixtures_close("elementwise", translate(m, shift), moved(m, shift))


def scale_stretches_space(m: Mixture, factor: float, *, scale: Any = scale) -> None:
    """``scale(m, s)``: means become s mu, covariances s^2 C; weights are integrals and stay."""
    assert_mixtures_close("elementwise", scale(m, factor), stretched(m, factor))


def affine_maps_push_forward(m: Mixture, matrix: Any, shift: Any, *, affine: Any = affine) -> None:
    """``affine(m, A, t)``: means become A mu + t, covariances A C A^T; for single mixtures, A maybe wide."""
    want = Mixture(*oracles.push_forward(*triple(m), asnumpy(matrix), asnumpy(shift)))
    assert_mixtures_close("sum", affine(m, matrix, shift), want.astype(m.dtype), size=m.dim**2)


def mixtures_are_valid(m: Mixture) -> None:
    """Every present component is finite, and its covariance symmetric and positive definite."""
    m = asnumpy(m)
    present = m.weights != 0
    for name, array in zip(("weights", "means", "covariances"), m.arrays, strict=True):
        assert np.isfinite(array[present]).all(), f"{name} that are not finite: {array[present].tolist()}"
    c = m.covariances[present]
    size = np.max(np.abs(c), axis=(-1, -2), keepdims=True, initial=0.0)
    assert_close("elementwise", c, np.swapaxes(c, -1, -2), scale=size, name="transposed covariances")
    smallest = np.linalg.eigvalsh(c.astype(np.float64))[..., 0].min(initial=np.inf)
    assert smallest > 0, f"a covariance has the eigenvalue {smallest:.3g}"
