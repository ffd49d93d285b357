"""Every law passes for a right function and fails for a wrong one."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from gmengine.mixture import Mixture
from gmengine.ops.affine import affine, marginal, scale, translate
from gmengine.ops.conditional import conditional
from gmengine.ops.convolve import convolve
from gmengine.ops.derivatives import density_gradient, density_hessian
from gmengine.ops.evaluate import evaluate, evaluate_components
from gmengine.ops.integrate import integrate
from gmengine.ops.moments import moments
from gmengine.ops.product import l2_distance, product
from gmengine.ops.reduce import reduce
from gmengine.ops.relu import relu
from gmengine.testing import laws
from gmengine.testing import strategies as gms

M = gms.random_mixture(1, (2,), 5, 2, absent=0.2)
ONE, TWO, THREE = (gms.random_mixture(seed, (), 3, 2) for seed in (2, 3, 4))
POSITIVE = gms.random_mixture(5, (2,), 5, 2, signed=False)
DATA, KERNEL = gms.random_mixture(6, (2,), 3, 2), gms.random_mixture(7, (1, 2), 2, 2)
ALONE = gms.random_mixture(8, (2,), 1, 2)
X = np.random.default_rng(9).uniform(-2, 2, (4, 2))
XS = np.random.default_rng(10).uniform(-2, 2, (2, 4, 2))
SHIFT, ORDER = np.array([0.7, -1.3]), [3, 1, 4, 0, 2]
ROTATION = np.linalg.qr(np.random.default_rng(11).standard_normal((2, 2)))[0]
WIDE = np.array([[1.0, 2.0]])


def louder(fn, field="weights"):
    """Return `fn` with one field, or the whole array, of its result off by 1 in 1000."""

    def changed(*args, **kwargs):
        out = fn(*args, **kwargs)
        if not isinstance(out, Mixture):
            return tuple(1.001 * x for x in out) if isinstance(out, tuple) else out * 1.001
        fields = {name: getattr(out, name) for name in ("weights", "means", "covariances")}
        return Mixture(**{**fields, field: fields[field] * 1.001})

    return changed


def by_index(m, points):
    """Add the number of the component to its weight: an evaluation that sees the order."""
    return evaluate(
        Mixture(m.weights * (1 + 0.1 * np.arange(m.n_components)), m.means, m.covariances), points
    )


def seeing_padding(m, points):
    return evaluate(m, points) * (1 + 1e-3 * np.isfinite(m.means).all() * m.n_components)


def from_the_origin(m, points):
    return evaluate(m, points) * (1 + 1e-9 * np.sum(np.asarray(points) ** 2, axis=-1))


def by_axis(m, points):
    return evaluate(m, points + np.array([1e-9, 0.0]))


def first_point_only(m, points):
    return evaluate(m, points[(0,) * (points.ndim - 2)] if points.ndim > 2 else points) * np.ones((2, 1))


def cancelling(m, points):
    far = np.max(np.abs(points))
    return evaluate(m, points) * (1 + 1e-16 * far**2)


def losing(a, b):
    c = convolve(a, b)
    return Mixture(np.where(np.arange(c.n_components) == 1, 0.0, c.weights), c.means, c.covariances)


def one_sided(data, kernel):
    """Shift the result by the kernel's mean of components: neither commutes nor associates."""
    c = convolve(data, kernel)
    return Mixture(c.weights, c.means + 1e-3 * kernel.weights.mean(), c.covariances)


def padding_matters(data, kernel):
    c = convolve(data, kernel)
    return Mixture(c.weights, c.means + 1e-6 * c.n_components, c.covariances)


def in_order(m):
    return Mixture(m.weights * (1 + 0.1 * np.arange(m.n_components)), m.means, m.covariances)


def towards_the_origin(m):
    return Mixture(m.weights, m.means * (1 - 1e-9), m.covariances)


def of_fixed_size(m):
    return Mixture(m.weights, m.means, m.covariances + 1e-9 * np.eye(m.dim))


def with_offset(m):
    return Mixture(np.where(m.weights != 0, m.weights + 1e-9, 0), m.means, m.covariances)


def reviving(m, *_):
    return Mixture(np.where(m.weights == 0, 1e-9, np.abs(m.weights)), m.means, m.covariances)


def by_batch(m):
    return m * (1.0 if not m.batch else 1.0 + 1e-9)


def second_moments(m):
    """Merge two components with covariances as E[x x^T] - E[x] E[x]^T."""
    w = m.weights / m.weights.sum(axis=-1, keepdims=True)
    mean = (w[..., None] * m.means).sum(axis=-2, keepdims=True)
    square = m.means[..., :, None] * m.means[..., None, :] + m.covariances
    second = (w[..., None, None] * square).sum(axis=-3, keepdims=True)
    total = m.weights.sum(axis=-1, keepdims=True)
    return Mixture(total, mean, second - mean[..., :, None] * mean[..., None, :])


def skewed(m, n):
    got = reduce(m, n)
    return Mixture(got.weights, got.means, got.covariances + np.array([[0.0, 1e-3], [0.0, 0.0]]))


def fused(data, kernel, n, reduce=reduce):
    return reduce(convolve(data, kernel), n)


def crossing(a, b):
    return l2_distance(a, b) + 1e-3 * (a.weights.sum() - b.weights.sum())


CASES = {
    # values
    "evaluation_follows_its_formula": (partial, M, X, "evaluate", evaluate, louder(evaluate)),
    "evaluation_is_linear": (partial, ONE, TWO, X, 1.7, "evaluate", evaluate, seeing_padding),
    "evaluation_ignores_order": (partial, M, ORDER, X, "evaluate", evaluate, by_index),
    "evaluation_ignores_absent": (partial, M, X, 7.0, "evaluate", evaluate, seeing_padding),
    "evaluation_follows_translation": (partial, M, SHIFT, X, "evaluate", evaluate, from_the_origin),
    "evaluation_is_exact_far_from_the_origin": (partial, M, X, "evaluate", evaluate, cancelling),
    "evaluation_follows_scale": (partial, M, 3.0, X, "evaluate", evaluate, from_the_origin),
    "evaluation_follows_rotation": (partial, M, ROTATION, X, "evaluate", evaluate, by_axis),
    "evaluation_broadcasts": (partial, M, XS, "evaluate", evaluate, first_point_only),
    "quadrature_gives_the_integral": (partial, M, "evaluate", evaluate, louder(evaluate)),
    "the_integral_is_the_sum_of_weights": (partial, M, "integrate", integrate, louder(integrate)),
    "components_sum_to_the_value": (
        partial, M, X, "evaluate_components", evaluate_components, louder(evaluate_components),
    ),
    "amplitudes_round_trip": (partial, M, "to_amplitudes", lambda m: m.amplitudes, lambda m: m.weights),
    "slopes_follow_their_formula": (
        partial, ONE, X, "density_gradient", density_gradient, louder(density_gradient),
    ),
    "curvatures_follow_their_formula": (
        partial, ONE, X, "density_hessian", density_hessian, louder(density_hessian),
    ),
    "slopes_are_those_of_differences": (
        partial, M, X, "density_gradient", density_gradient, louder(density_gradient),
    ),
    "curvatures_are_those_of_differences": (
        partial, M, X, "density_hessian", density_hessian, louder(density_hessian),
    ),
    # convolution
    "convolution_follows_its_formula": (partial, DATA, KERNEL, "convolve", convolve, louder(convolve)),
    "convolution_multiplies_integrals": (partial, DATA, KERNEL, "convolve", convolve, losing),
    "convolution_commutes": (partial, ONE, TWO, "convolve", convolve, one_sided),
    "convolution_associates": (partial, ONE, TWO, THREE, "convolve", convolve, one_sided),
    "convolution_is_linear": (partial, ONE, TWO, THREE, "convolve", convolve, losing),
    "convolution_adds_moments": (partial, ONE, TWO, "convolve", convolve, louder(convolve, "covariances")),
    "convolution_with_a_point_translates": (
        partial, ONE, SHIFT, "convolve", convolve, louder(convolve, "means"),
    ),
    "convolution_follows_translation": (
        partial, DATA, KERNEL, SHIFT, "convolve", convolve, louder(convolve, "means"),
    ),
    "convolution_ignores_absent": (partial, DATA, KERNEL, 7.0, "convolve", convolve, padding_matters),
    "convolution_is_that_of_samples": (
        partial, ONE, TWO, 16.0, 80, "convolve", convolve, louder(convolve, "means"),
    ),
    # maps
    "map_follows_translation": (lambda law, fn: law(fn, M, SHIFT), None, relu, towards_the_origin),
    "map_follows_scale": (lambda law, fn: law(fn, M, 3.0), None, relu, of_fixed_size),
    "map_is_homogeneous": (lambda law, fn: law(fn, M, 3.0), None, relu, with_offset),
    "map_ignores_order": (lambda law, fn: law(fn, M, ORDER), None, relu, in_order),
    "map_ignores_absent": (lambda law, fn: law(fn, M, 7.0), None, relu, reviving),
    "map_treats_mixtures_alone": (lambda law, fn: law(fn, M), None, relu, by_batch),
    "map_is_exact_far_from_the_origin": (
        lambda law, fn: law(fn, POSITIVE), None, lambda m: reduce(m, 1), second_moments,
    ),
    "translation_moves_means": (partial, M, SHIFT, "translate", translate, louder(translate)),
    "scale_stretches_space": (partial, M, 3.0, "scale", scale, louder(scale, "covariances")),
    "affine_maps_push_forward": (partial, ONE, WIDE, SHIFT[:1], "affine", affine, louder(affine, "means")),
    "mixtures_are_valid": (lambda law, fn: law(fn(M, 3)), None, reduce, skewed),
    # relu
    "relu_follows_its_formula": (lambda law, fn: law(M, fn(M, 0.1), 0.1), None, relu, louder(relu)),
    "relu_keeps_places": (partial, M, 0.1, "relu", relu, louder(relu, "means")),
    "relu_is_not_negative": (partial, M, -0.1, "relu", relu, reviving),
    "relu_is_homogeneous": (
        partial, M, 0.1, 3.0, "relu", relu, lambda m, bias: relu(m, bias, relative=False),
    ),
    "relu_without_epsilons_keeps_what_is_positive": (
        partial, POSITIVE, "relu", relu, lambda m, bias, epsilons: relu(m, bias),
    ),
    "relu_of_one_component_has_a_closed_form": (partial, ALONE, "relu", relu, louder(relu)),
    "relu_of_far_components_is_theirs_alone": (
        partial, ONE, "relu", lambda m, bias: relu(m, bias, relative=False), relu,
    ),
    # reductions
    "moments_are_conserved": (lambda law, fn: law(M, fn(M, 3)), None, reduce, louder(reduce, "covariances")),
    "has_exactly": (lambda law, fn: law(fn(POSITIVE, 3), 3), None, reduce, lambda m, n: reduce(m, n - 1)),
    "reduction_has_exactly": (partial, POSITIVE, 3, "reduce", reduce, lambda m, n: reduce(m, n - 1)),
    "reduction_keeps_what_fits": (partial, M, "reduce", reduce, louder(reduce)),
    "reduction_conserves_moments": (partial, M, 3, "reduce", reduce, partial(reduce, method="top")),
    "reduction_gives_valid_mixtures": (partial, M, 3, "reduce", reduce, skewed),
    "reduction_is_that_of_recursion": (partial, M, 3, "reduce", reduce, louder(reduce)),
    "fusion_is_the_composition": (partial, DATA, KERNEL, 4, "convolve_reduce", fused, louder(fused)),
    "fusion_keeps_what_fits": (partial, DATA, KERNEL, "convolve_reduce", fused, louder(fused)),
    "fusion_conserves_moments": (
        partial, DATA, KERNEL, 4, "convolve_reduce", fused, partial(fused, reduce=partial(reduce, method="top")),
    ),
    # products
    "product_follows_its_formula": (partial, ONE, TWO, "product", product, louder(product)),
    "product_is_that_of_quadrature": (partial, ONE, TWO, "product", product, louder(product)),
    "product_is_symmetric": (partial, ONE, TWO, "product", product, crossing),
    "product_is_linear": (partial, ONE, TWO, THREE, 1.7, "product", product, l2_distance),
    "product_follows_scale": (partial, ONE, TWO, 3.0, "product", product, l2_distance),
    "distance_follows_from_products": (
        partial, ONE, TWO, "l2_distance", l2_distance, partial(l2_distance, squared=True),
    ),
    "distance_is_a_metric": (partial, ONE, TWO, THREE, "l2_distance", l2_distance, crossing),
    # moments, marginals, conditionals
    "moments_follow_their_formula": (partial, POSITIVE, "moments", moments, louder(moments)),
    "moments_follow_translation": (
        partial, POSITIVE, SHIFT, "moments", moments, lambda m: moments(towards_the_origin(m)),
    ),
    "marginals_integrate_the_others_out": (
        partial, M, [1], "marginal", marginal, louder(marginal, "covariances"),
    ),
    "conditionals_are_slices": (
        partial, ONE, [0], SHIFT[:1], X[:, :1], "conditional", partial(conditional, normalised=False), conditional,
    ),
    "conditionals_follow_their_formula": (
        partial, ONE, [0], SHIFT[:1], "conditional", partial(conditional, normalised=False), conditional,
    ),
}  # fmt: skip


def call(law, how, inputs, keyword, fn):
    if how is partial:
        law(*inputs, **{keyword: fn})
    else:
        how(law, fn)


@pytest.mark.parametrize("name", CASES)
def test_a_law_passes_the_right_function_and_fails_the_wrong_one(name):
    how, *inputs, keyword, right, wrong = CASES[name]
    law = getattr(laws, name)
    call(law, how, inputs, keyword, right)
    with pytest.raises(AssertionError):
        call(law, how, inputs, keyword, wrong)


# --- all names ----------------------------------------------------------------------------------------------

TESTED_ELSEWHERE = {
    "gradient_is_that_of_differences", "covariance_gradients_are_symmetric", "absent_gradients_are_zero",
    "gradients_agree_in_single_precision",
    "inputs_stay_unchanged", "results_stay_unchanged", "calls_repeat_to_the_bit", "layout_does_not_matter",
    "dtype_is_kept", "single_precision_agrees", "implementations_agree", "round_trips",
    "tree_is_sound", "tree_is_that_of_sorting", "selection_covers_every_leaf_once",
    "network_gradient_is_that_of_differences", "network_ignores_order", "network_ignores_place",
    "network_ignores_absent", "samples_are_judged_alone", "same_seed_gives_same_losses",
}  # fmt: skip
HELPERS = {"channelwise", "losses_of", "on_mixtures", "padded", "permuted", "spread"}


def test_every_law_is_tested():
    assert set(laws.__all__) == CASES.keys() | TESTED_ELSEWHERE | HELPERS
    for name in laws.__all__:
        assert getattr(laws, name).__doc__, name
