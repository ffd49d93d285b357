"""Checks of functions whose result is no mixture: values, slopes, integrals, products."""

from __future__ import annotations

import math

import numpy as np

from gmengine.testing import laws
from gmengine.testing import strategies as gms
from gmengine.testing.auditing._case import FEW, SOME, Case
from gmengine.testing.auditing._checks import check, knows_absent, knows_batches, knows_single_precision


@check(laws.evaluation_follows_its_formula, "evaluate")
def _(c: Case) -> None:
    m = c.mixture()
    laws.evaluation_follows_its_formula(m, c.points(m), c.condition, evaluate=c.f.evaluate)


@check(laws.evaluation_is_linear, "evaluate")
def _(c: Case) -> None:
    dim = c.dim()
    a, b = c.single("a", dim), c.single("b", dim)
    factor = c.number("factor", 0.25, 3.0) * (c.choice("sign", 1.0, -1.0) if c.f.signed else 1.0)
    laws.evaluation_is_linear(a, b, c.points(a), factor, c.condition, evaluate=c.f.evaluate)


@check(laws.evaluation_ignores_order, "evaluate")
def _(c: Case) -> None:
    m = c.mixture()
    laws.evaluation_ignores_order(m, c.order(m), c.points(m), c.condition, evaluate=c.f.evaluate)


@check(laws.evaluation_ignores_absent, "evaluate", applies=knows_absent)
def _(c: Case) -> None:
    m = c.mixture(absent=0.0)
    value = c.choice("value", 0.0, -1.0, 1e3)
    laws.evaluation_ignores_absent(m, c.points(m), value, c.condition, evaluate=c.f.evaluate)


@check(laws.evaluation_follows_translation, "evaluate")
def _(c: Case) -> None:
    m = c.mixture()
    shift, points = c.shift(m), c.points(m)
    laws.evaluation_follows_translation(m, shift, points, c.condition, evaluate=c.f.evaluate)


@check(laws.evaluation_is_exact_far_from_the_origin, "evaluate")
def _(c: Case) -> None:
    m = c.mixture(dtype=c.dtype())
    law = laws.evaluation_is_exact_far_from_the_origin
    law(m, c.points(m), c.integer("shift", 0, 2047), c.condition, evaluate=c.f.evaluate)


@check(laws.evaluation_follows_scale, "evaluate")
def _(c: Case) -> None:
    m = c.mixture()
    factor, points = c.number("factor", 0.1, 10.0), c.points(m)
    laws.evaluation_follows_scale(m, factor, points, c.condition, evaluate=c.f.evaluate)


@check(laws.evaluation_follows_rotation, "evaluate")
def _(c: Case) -> None:
    m = c.mixture()
    rotation, points = c.draw("rotation", gms.rotations(dim=m.dim)), c.points(m)
    laws.evaluation_follows_rotation(m, rotation, points, c.condition, evaluate=c.f.evaluate)


@check(laws.evaluation_broadcasts, "evaluate", applies=knows_batches)
def _(c: Case) -> None:
    several = [b for b in c.f.batches if math.prod(b) > 1] or [b for b in c.f.batches if b]
    pairs = [pair for b in several for pair in ((b, ()), ((), b), (b, (1,) * len(b)), (b, b), (b, b))]
    batch, batch_of_points = c.choice("batches", *pairs)
    m = c.mixture(batch=batch)
    points = c.points(m, batch=batch_of_points, n_points=SOME)
    laws.evaluation_broadcasts(m, points, c.condition, evaluate=c.f.evaluate)


@check(laws.quadrature_gives_the_integral, "evaluate")
def _(c: Case) -> None:
    m = c.single(dim=c.dim(most=2), n_components=FEW)
    laws.quadrature_gives_the_integral(m, evaluate=c.f.evaluate)


@check(laws.single_precision_agrees, "evaluate", applies=knows_single_precision)
def _(c: Case) -> None:
    m = c.mixture()
    laws.single_precision_agrees(
        c.f.evaluate, m, c.points(m), size=m.n_components, condition=c.condition, scale=laws.spread(m)
    )


@check(laws.gradient_is_that_of_differences, "evaluate", "evaluate_vjp")
def _(c: Case) -> None:
    m = c.mixture()
    laws.gradient_is_that_of_differences(c.f.evaluate, c.f.evaluate_vjp, m, c.points(m))


@check(laws.covariance_gradients_are_symmetric, "evaluate_vjp")
def _(c: Case) -> None:
    m = c.mixture()
    points = c.points(m)
    cotangent = np.ones((*m.batch, len(points)))
    laws.covariance_gradients_are_symmetric(c.f.evaluate_vjp(m, points, cotangent), c.condition)


@check(laws.absent_gradients_are_zero, "evaluate_vjp", applies=knows_absent)
def _(c: Case) -> None:
    m = c.mixture(absent=0.5)
    points = c.points(m)
    laws.absent_gradients_are_zero(m, c.f.evaluate_vjp(m, points, np.ones((*m.batch, len(points)))))


@check(laws.slopes_follow_their_formula, "density_gradient")
def _(c: Case) -> None:
    m = c.single()
    laws.slopes_follow_their_formula(m, c.points(m), c.condition, density_gradient=c.f.density_gradient)


@check(laws.slopes_are_those_of_differences, "evaluate", "density_gradient")
def _(c: Case) -> None:
    m = c.mixture()
    functions = {"density_gradient": c.f.density_gradient, "evaluate": c.f.evaluate}
    laws.slopes_are_those_of_differences(m, c.points(m), **functions)


@check(laws.curvatures_follow_their_formula, "density_hessian")
def _(c: Case) -> None:
    m = c.single()
    laws.curvatures_follow_their_formula(m, c.points(m), c.condition, density_hessian=c.f.density_hessian)


@check(laws.curvatures_are_those_of_differences, "density_gradient", "density_hessian")
def _(c: Case) -> None:
    m = c.mixture()
    functions = {"density_hessian": c.f.density_hessian, "density_gradient": c.f.density_gradient}
    laws.curvatures_are_those_of_differences(m, c.points(m), **functions)


@check(laws.the_integral_is_the_sum_of_weights, "integrate")
def _(c: Case) -> None:
    laws.the_integral_is_the_sum_of_weights(c.mixture(), integrate=c.f.integrate)


@check(laws.product_follows_its_formula, "product")
def _(c: Case) -> None:
    dim = c.dim()
    a, b = (c.single(name, dim, n_components=FEW) for name in "ab")
    laws.product_follows_its_formula(a, b, c.condition, product=c.f.product)


@check(laws.product_is_that_of_quadrature, "product")
def _(c: Case) -> None:
    dim = c.dim(most=1)
    a, b = (c.single(name, dim, n_components=FEW) for name in "ab")
    laws.product_is_that_of_quadrature(a, b, product=c.f.product)


@check(laws.product_is_symmetric, "product")
def _(c: Case) -> None:
    dim = c.dim()
    laws.product_is_symmetric(c.single("a", dim), c.single("b", dim), c.condition, product=c.f.product)


@check(laws.product_is_linear, "product")
def _(c: Case) -> None:
    dim = c.dim()
    x, y, z = (c.single(name, dim) for name in "abc")
    laws.product_is_linear(x, y, z, c.number("factor", 0.25, 3.0), c.condition, product=c.f.product)


@check(laws.distance_follows_from_products, "l2_distance")
def _(c: Case) -> None:
    dim = c.dim()
    a, b = (c.single(name, dim, n_components=FEW) for name in "ab")
    laws.distance_follows_from_products(a, b, c.condition, l2_distance=c.f.l2_distance)


@check(laws.distance_is_a_metric, "l2_distance")
def _(c: Case) -> None:
    dim = c.dim()
    x, y, z = (c.single(name, dim) for name in "abc")
    laws.distance_is_a_metric(x, y, z, c.condition, l2_distance=c.f.l2_distance)
