"""Checks of functions whose result is a mixture: convolution, motions, relu, reduce."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from gmengine.mixture import Mixture
from gmengine.testing import laws
from gmengine.testing.auditing._case import FEW, MANY, Case
from gmengine.testing.auditing._checks import check, knows_absent, knows_batches, knows_single_precision

# --- convolve: given as a function of two single mixtures ---------------------------------------------------


@check(laws.convolution_follows_its_formula, "convolve")
def _(c: Case) -> None:
    dim, convolve = c.dim(), laws.channelwise(c.f.convolve)
    data = c.mixture("data", dim, batch=(2,), n_components=FEW)
    kernel = c.mixture("kernel", dim, batch=(1, 2), n_components=FEW)
    laws.convolution_follows_its_formula(data, kernel, convolve=convolve)


@check(laws.convolution_multiplies_integrals, "convolve")
def _(c: Case) -> None:
    a, b = _pair(c)
    laws.convolution_multiplies_integrals(a[None], b[None, None], convolve=laws.channelwise(c.f.convolve))


@check(laws.convolution_commutes, "convolve")
def _(c: Case) -> None:
    laws.convolution_commutes(*_pair(c), convolve=laws.channelwise(c.f.convolve))


@check(laws.convolution_associates, "convolve")
def _(c: Case) -> None:
    dim = c.dim()
    x, y, z = (c.single(name, dim, n_components=FEW) for name in "abc")
    laws.convolution_associates(x, y, z, convolve=laws.channelwise(c.f.convolve))


@check(laws.convolution_is_linear, "convolve")
def _(c: Case) -> None:
    dim = c.dim()
    x, y, z = (c.single(name, dim, n_components=FEW) for name in "abc")
    laws.convolution_is_linear(x, y, z, convolve=laws.channelwise(c.f.convolve))


@check(laws.convolution_adds_moments, "convolve")
def _(c: Case) -> None:
    laws.convolution_adds_moments(*_pair(c), convolve=laws.channelwise(c.f.convolve))


@check(laws.convolution_with_a_point_translates, "convolve")
def _(c: Case) -> None:
    m = c.single()
    laws.convolution_with_a_point_translates(m, c.shift(m), convolve=laws.channelwise(c.f.convolve))


@check(laws.convolution_ignores_absent, "convolve", applies=knows_absent)
def _(c: Case) -> None:
    a, b = _pair(c)
    value = c.choice("value", 0.0, -1.0, 1e3)
    laws.convolution_ignores_absent(a[None], b[None, None], value, convolve=laws.channelwise(c.f.convolve))


@check(laws.gradient_is_that_of_differences, "convolve", "convolve_vjp")
def _(c: Case) -> None:
    dim = c.dim()  # what is absent in the result has no gradient, though its mean moves
    a, b = (c.single(name, dim, n_components=FEW, absent=0.0) for name in "ab")
    laws.gradient_is_that_of_differences(c.f.convolve, c.f.convolve_vjp, a, b, wrt=2)


def _pair(c: Case) -> tuple[Mixture, Mixture]:
    dim = c.dim()
    return c.single("a", dim, n_components=FEW), c.single("b", dim, n_components=FEW)


# --- motions ------------------------------------------------------------------------------------------------


@check(laws.translation_moves_means, "translate")
def _(c: Case) -> None:
    m = c.mixture()
    laws.translation_moves_means(m, c.shift(m), translate=c.f.translate)


@check(laws.scale_stretches_space, "scale")
def _(c: Case) -> None:
    laws.scale_stretches_space(c.mixture(), c.number("factor", 0.1, 10.0), scale=c.f.scale)


# --- relu ---------------------------------------------------------------------------------------------------


@check(laws.relu_keeps_places, "relu")
def _(c: Case) -> None:
    laws.relu_keeps_places(c.mixture(), c.number("bias", -0.5, 0.5), relu=c.f.relu)


@check(laws.relu_is_not_negative, "relu")
def _(c: Case) -> None:
    laws.relu_is_not_negative(c.mixture(), c.number("bias", -0.5, 0.0), relu=c.f.relu)


@check(laws.gradient_is_that_of_differences, "relu", "relu_vjp")
def _(c: Case) -> None:
    m = c.mixture(generic=True, absent=0.0)
    laws.gradient_is_that_of_differences(c.f.relu, c.f.relu_vjp, m, c.number("bias", -0.5, 0.5))


def _relu(c: Case) -> Callable[[Mixture], Mixture]:
    bias = c.number("bias", -0.5, 0.5)
    return lambda m: c.f.relu(m, bias)


@check(laws.map_ignores_order, "relu")
def _(c: Case) -> None:
    m = c.mixture()
    laws.map_ignores_order(_relu(c), m, c.order(m), 64 * c.condition)


@check(laws.map_ignores_absent, "relu", applies=knows_absent)
def _(c: Case) -> None:
    value = c.choice("value", 0.0, -1.0, 1e3)
    laws.map_ignores_absent(_relu(c), c.mixture(absent=0.0), value, 64 * c.condition)


@check(laws.map_follows_translation, "relu")
def _(c: Case) -> None:
    m = c.mixture()
    laws.map_follows_translation(_relu(c), m, c.shift(m), 64 * c.condition)


@check(laws.map_treats_mixtures_alone, "relu", applies=knows_batches)
def _(c: Case) -> None:
    laws.map_treats_mixtures_alone(_relu(c), c.mixture(), 64 * c.condition)


# --- reduce: in general position, where nothing ties --------------------------------------------------------


def _many(c: Case, **options: Any) -> Mixture:
    return c.mixture(**{"n_components": MANY, "generic": True, **options})


def _reduce(c: Case, m: Mixture) -> Callable[[Mixture], Mixture]:
    n = c.fewer(m)
    return lambda m: c.f.reduce(m, n)


@check(laws.reduction_has_exactly, "reduce")
def _(c: Case) -> None:
    m = _many(c, generic=False)
    laws.reduction_has_exactly(m, c.fewer(m), reduce=c.f.reduce)


@check(laws.reduction_keeps_what_fits, "reduce")
def _(c: Case) -> None:
    m = _many(c, generic=False)
    laws.reduction_keeps_what_fits(m, reduce=c.f.reduce)


@check(laws.reduction_conserves_moments, "reduce")
def _(c: Case) -> None:
    m = _many(c, generic=False, dtype=c.dtype())
    laws.reduction_conserves_moments(m, c.fewer(m), reduce=c.f.reduce)


@check(laws.reduction_gives_valid_mixtures, "reduce")
def _(c: Case) -> None:
    m = _many(c, generic=False, max_condition=100.0)
    exponents = c.draw(
        "exponents", st.lists(st.integers(-12, 6), min_size=m.n_components, max_size=m.n_components)
    )
    m = Mixture(m.weights * [10.0**e for e in exponents], m.means, m.covariances)
    laws.reduction_gives_valid_mixtures(m, c.fewer(m), reduce=c.f.reduce)


@check(laws.map_ignores_order, "reduce")
def _(c: Case) -> None:
    m = _many(c)
    laws.map_ignores_order(_reduce(c, m), m, c.order(m), c.condition)


@check(laws.map_ignores_absent, "reduce", applies=knows_absent)
def _(c: Case) -> None:
    m = _many(c, absent=0.0)
    value = c.choice("value", 0.0, -1.0, 1e3)
    laws.map_ignores_absent(_reduce(c, m), m, value, c.condition)


@check(laws.map_follows_translation, "reduce")
def _(c: Case) -> None:
    m = _many(c)
    laws.map_follows_translation(_reduce(c, m), m, c.shift(m), c.condition)


@check(laws.map_follows_scale, "reduce")
def _(c: Case) -> None:
    m = _many(c)
    laws.map_follows_scale(_reduce(c, m), m, c.number("factor", 0.1, 10.0), c.condition)


@check(laws.map_is_homogeneous, "reduce")
def _(c: Case) -> None:
    m = _many(c)
    laws.map_is_homogeneous(_reduce(c, m), m, c.number("factor", 0.1, 10.0), c.condition)


@check(laws.map_treats_mixtures_alone, "reduce", applies=knows_batches)
def _(c: Case) -> None:
    m = _many(c)
    laws.map_treats_mixtures_alone(_reduce(c, m), m, c.condition)


@check(laws.map_is_exact_far_from_the_origin, "reduce")
def _(c: Case) -> None:
    m = _many(c, dtype=c.dtype())
    shift = c.integer("shift", 0, 2047)
    laws.map_is_exact_far_from_the_origin(_reduce(c, m), m, shift, c.condition)


@check(laws.single_precision_agrees, "reduce", applies=knows_single_precision)
def _(c: Case) -> None:
    m = _many(c)
    size, condition = m.n_components, 16 * c.condition
    laws.single_precision_agrees(_reduce(c, m), m, size=size, condition=condition, any_order=True)
