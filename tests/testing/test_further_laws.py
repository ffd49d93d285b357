"""Laws that no audit runs, on drawn mixtures and gmengine's own functions."""

from __future__ import annotations

from functools import partial

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gmengine.ops.convolve import convolve
from gmengine.ops.reduce import reduce
from gmengine.testing import laws
from gmengine.testing import strategies as gms


def fused(data, kernel, n):
    """Convolve and reduce as the slow composition; a fused implementation would stand here."""
    return reduce(convolve(data, kernel), n)


@given(gms.mixtures(absent=0.2, degenerate=True), st.data())
def test_values_of_components_and_amplitudes(m, data):
    laws.components_sum_to_the_value(m, data.draw(gms.points(dim=m.dim)))
    laws.amplitudes_round_trip(m)


@given(st.data())
def test_affine_maps_marginals_and_conditionals(data):
    m = data.draw(gms.mixtures(batch=(), dim=st.integers(2, 3), absent=0.2))
    matrix, shift = data.draw(gms.affine_maps(dim=m.dim))
    rows = data.draw(st.integers(1, m.dim))
    laws.affine_maps_push_forward(m, matrix[:rows], shift[:rows])
    axes = data.draw(st.permutations(range(m.dim)))
    laws.marginals_integrate_the_others_out(m, axes[: data.draw(st.integers(1, m.dim))])
    given_axes = sorted(axes[:1])
    values = data.draw(gms.shifts(dim=1))
    laws.conditionals_follow_their_formula(m, given_axes, values)
    laws.conditionals_are_slices(m, given_axes, values, data.draw(gms.points(dim=m.dim - 1)))


@given(gms.mixtures(signed=False, absent=0.0), st.data())
def test_moments(m, data):
    laws.moments_follow_their_formula(m)
    laws.moments_follow_translation(m, data.draw(gms.shifts(dim=m.dim)))


@given(
    gms.mixtures(n_components=1), gms.mixtures(batch=(), generic=True), gms.mixtures(signed=False, absent=0.2)
)
def test_rectified_components_alone_and_together(alone, apart, positive):
    for relative in (False, True):
        laws.relu_of_one_component_has_a_closed_form(alone, relative=relative)
    laws.relu_of_far_components_is_theirs_alone(apart)
    laws.relu_without_epsilons_keeps_what_is_positive(positive)
    laws.relu_is_homogeneous(apart, 0.1, 3.0)


@given(st.data())
def test_convolution_fused_with_reduction(data):
    dim, inputs = data.draw(gms.dims), data.draw(st.integers(1, 2))
    d = data.draw(gms.mixtures(batch=(2, inputs), dim=dim, n_components=st.integers(1, 4), absent=0.1))
    k = data.draw(gms.kernels(inputs=inputs, dim=dim, absent=0.1))
    n = data.draw(st.integers(2, 8))
    laws.fusion_is_the_composition(d, k, n, convolve_reduce=fused)
    laws.fusion_keeps_what_fits(d, k, convolve_reduce=fused)
    laws.fusion_conserves_moments(d, k, n, convolve_reduce=fused)


@given(gms.mixtures(n_components=st.integers(3, 12), absent=0.1), st.sampled_from([1, 2, 4]))
def test_reduction_by_recursion(m, per_node):
    laws.reduction_is_that_of_recursion(m, 2, per_node, reduce=partial(reduce, per_node=per_node))


@given(
    gms.mixtures(batch=(), dim=1, max_condition=4.0, n_components=3),
    gms.mixtures(batch=(), dim=1, n_components=2),
)
def test_convolution_by_fft(a, b):
    laws.convolution_is_that_of_samples(a, b, radius=24.0, n=600)


@given(st.data())
def test_products_follow_scale_and_quadrature(data):
    dim = data.draw(st.integers(1, 2))
    a, b = (data.draw(gms.mixtures(batch=(), dim=dim, n_components=st.integers(1, 3))) for _ in "ab")
    laws.product_follows_scale(a, b, data.draw(gms.scalars(0.1, 10.0)))
    laws.product_is_that_of_quadrature(a, b)


@given(gms.mixtures(batch=(2,), absent=0.2), gms.scalars(0.1, 5.0))
def test_weights_and_signs_do_not_matter_to_validity(m, factor):
    laws.mixtures_are_valid(m * factor)
    assert np.array_equal(laws.permuted(m, range(m.n_components)).weights, m.weights)
