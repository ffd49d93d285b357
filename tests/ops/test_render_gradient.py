"""render: gradients with respect to mixtures."""

from __future__ import annotations

import numpy as np
import pytest

from gmengine.autograd import check_vjp
from gmengine.cpu import render as kernels
from gmengine.mixture import Mixture
from gmengine.ops.evaluate import evaluate
from gmengine.ops.render import render
from gmengine.testing import assert_close, laws, pull_back
from gmengine.testing import strategies as gms

SHAPE = {1: (70,), 2: (12, 15), 3: (7, 6, 8), 4: (5, 4, 3, 6), 5: (3, 3, 4, 2, 5), 6: (2, 3, 2, 3, 2, 4)}


def drawn(m, shape=None):
    return render(m, ([-2.5] * m.dim, [3.0] * m.dim), shape or SHAPE[m.dim])


def by_points(m, shape):
    """Return the same values by `evaluate`."""
    axes = [-2.5 + (np.arange(n) + 0.5) * 5.5 / n for n in shape]
    x = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(shape))
    return evaluate(m, x).reshape((*m.batch, *shape))


@pytest.mark.parametrize("dim", [1, 2, 3, 4, 5, 6])
def test_the_gradient_is_that_of_finite_differences(dim):
    check_vjp(drawn, gms.random_mixture(1, (2,), 5, dim, absent=0.2), rng=2)


@pytest.mark.parametrize("n", [1, 2, 40])
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_few_components_cut_into_slices_have_the_gradient_of_finite_differences(dim, n):
    check_vjp(drawn, gms.random_mixture(3, (), n, dim), rng=4)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_the_gradient_is_that_of_evaluation(dim):
    m, shape = (
        gms.random_mixture(5, (2,), 30, dim, absent=0.2),
        {1: (5000,), 2: (70, 80), 3: (17, 18, 19)}[dim],
    )
    _, (wants,) = pull_back(lambda m: by_points(m, shape), m, rng=6)
    _, (gots,) = pull_back(lambda m: drawn(m, shape), m, rng=6)
    for name in ("weights", "means", "covariances"):
        assert_close(
            "gradient", getattr(gots, name), getattr(wants, name), size=5000, condition=10, name=name
        )


def test_thin_rotated_components_have_the_gradient_of_evaluation():
    m, shape = gms.random_mixture(7, (), 20, 2, condition=1e4), (120, 130)
    _, (wants,) = pull_back(lambda m: by_points(m, shape), m, rng=8)
    _, (gots,) = pull_back(lambda m: drawn(m, shape), m, rng=8)
    for name in ("weights", "means", "covariances"):
        got, want = getattr(gots, name), getattr(wants, name)
        assert_close("gradient", got, want, size=shape[0] * shape[1], condition=1e4, name=name)


def test_tiles_do_not_show_in_the_gradient(monkeypatch):
    m = gms.random_mixture(9, (2,), 9, 2)
    want, (wants,) = pull_back(drawn, m)
    monkeypatch.setattr(kernels, "SMALLEST_TILE", 5)
    got, (gots,) = pull_back(drawn, m)
    assert_close("sum", got, want, size=9)
    for a, b in zip(gots.arrays, wants.arrays, strict=True):
        assert_close("exact", a, b)


def test_components_beyond_the_box_have_gradient_exactly_zero():
    m = gms.random_mixture(10, (), 5, 2)
    far = Mixture(m.weights, m.means + np.array([[40.0, 0.0]]), m.covariances)
    _, (grads,) = pull_back(drawn, far)
    for g in grads.arrays:
        assert_close("exact", g, np.zeros_like(g))


@pytest.mark.parametrize("name", ["weights", "means", "covariances"])
def test_each_input_can_be_the_only_one_that_needs_a_gradient(name):
    m = gms.random_mixture(11, (2,), 5, 2)
    fields = dict(zip(("weights", "means", "covariances"), m.arrays, strict=True))
    _, (got,) = pull_back(lambda part: drawn(Mixture(**fields | {name: part})), fields[name], rng=12)
    _, (grads,) = pull_back(drawn, m, rng=12)
    assert_close("exact", got, getattr(grads, name))


@pytest.mark.parametrize("garbage", [0.0, -1.0, 1e3])
def test_absent_components_have_gradient_exactly_zero(garbage):
    _, (grads,) = pull_back(drawn, laws.padded(gms.random_mixture(13, (2,), 5, 2), 3, garbage))
    for g in grads.arrays:
        assert_close("exact", g[:, 5:], np.zeros_like(g[:, 5:]))


@pytest.mark.parametrize(("batch", "n"), [((2,), 0), ((0,), 3)])
def test_nothing_has_a_gradient_of_nothing(batch, n):
    m = gms.random_mixture(14, batch, n, 2)
    _, (grads,) = pull_back(drawn, m)
    for g, a in zip(grads.arrays, m.arrays, strict=True):
        assert_close("exact", g, np.zeros_like(a))


def test_covariance_gradients_are_symmetric():
    _, (grads,) = pull_back(drawn, gms.random_mixture(15, (), 5, 3))
    assert_close("exact", grads.covariances, np.swapaxes(grads.covariances, -1, -2))


@pytest.mark.parametrize("condition", [1e1, 1e4])
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_single_precision_agrees_with_double(dim, condition):
    m = gms.random_mixture(16, (2,), 40, dim, condition=condition)
    _, (wants,) = pull_back(drawn, m, rng=17)
    _, (gots,) = pull_back(drawn, m.astype("float32"), rng=17)
    for name in ("weights", "means", "covariances"):
        g, w = getattr(gots, name), getattr(wants, name)
        assert_close("gradient", g, w, size=np.prod(SHAPE[dim]), condition=condition, name=name)


def test_a_cotangent_may_be_of_any_strides():
    m, g = gms.random_mixture(18, (), 5, 2), np.random.default_rng(19).standard_normal(SHAPE[2])
    _, (want,) = pull_back(drawn, m, cotangent=g)
    for strided in (np.asfortranarray(g), np.repeat(g, 2, axis=1)[:, ::2]):
        _, (got,) = pull_back(drawn, m, cotangent=strided)
        for a, b in zip(got.arrays, want.arrays, strict=True):
            assert_close("exact", a, b)
