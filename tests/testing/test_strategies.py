"""What the strategies draw, and what failing examples shrink to."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st

from gmengine.mixture import Mixture
from gmengine.testing import assert_close
from gmengine.testing import strategies as gms

SEARCH = settings(max_examples=1000, database=None, suppress_health_check=list(HealthCheck))


def smallest(strategy, condition):
    return find(strategy, condition, settings=SEARCH, random=Random(1))


# --- mixtures -----------------------------------------------------------------------------------------------


@given(st.data())
def test_mixtures_are_what_was_asked_for(data):
    batch, n, dim = data.draw(gms.batches), data.draw(gms.sizes), data.draw(gms.dims)
    dtype, signed = data.draw(st.sampled_from(["float32", "float64"])), data.draw(st.booleans())
    condition = data.draw(gms.conditions(1e3))
    generic = data.draw(st.booleans())
    m = data.draw(
        gms.mixtures(
            batch=batch,
            n_components=n,
            dim=dim,
            dtype=dtype,
            signed=signed,
            max_condition=condition,
            generic=generic,
        )
    ).check()
    assert (m.batch, m.n_components, m.dim, str(m.dtype)) == (batch, n, dim, dtype)
    assert np.all((np.abs(m.weights) >= 0.1) & (np.abs(m.weights) <= 1.0))
    assert signed or np.all(m.weights > 0)
    assert np.max(np.abs(m.means)) <= 2.0
    eigenvalues = np.linalg.eigvalsh(m.covariances.astype(np.float64))
    assert np.max(eigenvalues[..., -1] / eigenvalues[..., 0]) <= condition * (1 + 1e-3)
    for a in m.arrays:
        assert_close("exact", a.astype(np.float32).astype(dtype), a)


@given(
    gms.mixtures(n_components=4, dim=2, batch=(2,), generic=True), gms.points(dim=2, n_points=4, generic=True)
)
def test_generic_numbers_are_all_different(m, x):
    for a in (m.weights, m.means, x):
        assert len(np.unique(a)) == a.size


@given(st.data())
def test_sizes_signs_conditions_and_dtypes_may_be_strategies(data):
    m = data.draw(
        gms.mixtures(
            batch=st.just((2,)),
            n_components=st.just(3),
            dim=st.just(1),
            signed=st.just(False),
            max_condition=st.just(1.0),
            dtype=st.just("float32"),
        )
    )
    assert (m.batch, m.n_components, m.dim, str(m.dtype)) == ((2,), 3, 1, "float32")


def test_all_kinds_of_covariances_are_drawn():
    def has(kind):
        return lambda m: kind(m.covariances[0])

    def off_diagonal(c):
        return abs(c[0, 1])

    strategy = gms.mixtures(dim=2, batch=(), n_components=1, generic=True)
    smallest(strategy, has(lambda c: off_diagonal(c) == 0 and c[0, 0] == c[1, 1]))
    smallest(strategy, has(lambda c: off_diagonal(c) == 0 and c[0, 0] != c[1, 1]))
    smallest(strategy, has(lambda c: off_diagonal(c) > 0.1))
    smallest(strategy, has(lambda c: np.linalg.cond(c) > 9.9))


@pytest.mark.parametrize("case", gms.DEGENERATE)
def test_degenerate_cases_are_what_their_names_say(case):
    @settings(max_examples=20, database=None)
    @given(gms.mixtures(degenerate=case, n_components=4, dim=2, batch=(2,), generic=True))
    def examine(m):
        distances = np.linalg.norm(m.means[:, :, None] - m.means[:, None], axis=-1)
        if case == "coincident":
            assert not distances.any()
        elif case == "collinear":
            centred = m.means - m.means[:, :1]
            assert np.all(np.linalg.svd(centred)[1][:, 1] < 1e-5)
        elif case == "single":
            assert m.n_components == 1
        elif case == "all_absent":
            assert not m.weights.any()
        elif case == "duplicates":
            assert np.sum(distances == 0) > 2 * 4
            assert len(np.unique(m.weights[0])) < 4
        else:
            assert_close("exact", m.means, np.broadcast_to(gms.cross(2), (2, 5, 2)))

    examine()


def test_absent_components_hold_garbage():
    found = smallest(
        gms.mixtures(absent=0.3), lambda m: np.any((m.weights == 0) & (m.covariances[..., 0, 0] <= 0))
    )
    assert np.isfinite(found.means).all()


@given(gms.mixtures(normalised=True, batch=(2,)))
def test_normalised_mixtures_are_densities(m):
    assert np.all(m.weights > 0)
    assert_close("sum", m.weights.sum(axis=-1), np.ones(2), size=m.n_components)


@given(gms.kernels(outputs=3, inputs=2, n_components=4, dim=2))
def test_kernels_have_output_and_input_channels(k):
    assert (k.batch, k.n_components) == ((3, 2), 4)


# --- shrinking ----------------------------------------------------------------------------------------------


def test_the_simplest_mixture_is_one_standard_normal():
    m = smallest(gms.mixtures(), lambda m: True)
    assert [a.tolist() for a in m.arrays] == [[1.0], [[0.0]], [[[1.0]]]]


def test_a_condition_on_the_number_of_components_leaves_zeros_and_ones():
    m = smallest(gms.mixtures(absent=0.2), lambda m: m.n_components >= 3)
    assert [a.tolist() for a in m.arrays] == [[1.0] * 3, [[0.0]] * 3, [[[1.0]]] * 3]


def test_a_condition_on_the_dimension_leaves_one_component():
    m = smallest(gms.mixtures(), lambda m: m.dim >= 2)
    assert [a.tolist() for a in m.arrays] == [[1.0], [[0.0, 0.0]], [[[1.0, 0.0], [0.0, 1.0]]]]


def test_a_condition_on_the_batch_leaves_the_smallest_one():
    m = smallest(gms.mixtures(), lambda m: len(m.batch) == 1 and m.batch[0] > 1)
    assert (m.batch, m.n_components, m.dim) == ((3,), 1, 1)


def test_a_negative_weight_is_minus_one():
    m = smallest(gms.mixtures(), lambda m: np.any(m.weights < 0))
    assert m.weights.tolist() == [-1.0]
    assert not m.means.any()


def test_a_condition_on_means_leaves_integers_and_plain_weights_and_covariances():
    m = smallest(gms.mixtures(), lambda m: np.ptp(m.means) > 0.5 and m.n_components >= 2)
    assert m.n_components == 2
    assert_close("exact", m.means, np.round(m.means))
    assert m.weights.tolist() == [1.0, 1.0]
    assert m.covariances.tolist() == [[[1.0]], [[1.0]]]


def test_a_condition_on_rounding_keeps_the_digits_that_it_needs():
    m = smallest(gms.mixtures(), lambda m: np.any(m.weights * 8 % 1 != 0))
    assert m.weights.size == 1
    assert not m.means.any()
    assert m.covariances.tolist() == [[[1.0]]]


def test_a_condition_on_generic_mixtures_still_leaves_few_components():
    m = smallest(gms.mixtures(generic=True), lambda m: m.n_components >= 3)
    assert (m.batch, m.n_components, m.dim) == ((), 3, 1)


def test_points_shrink_to_few_and_to_the_origin():
    assert smallest(gms.points(dim=2), lambda x: len(x) >= 2).tolist() == [[0.0, 0.0]] * 2
    x = smallest(gms.points(dim=2, n_points=3), lambda x: np.any(x > 0.5))
    assert_close("exact", x, np.round(x))
    assert np.abs(x).max() <= 1


def test_a_failing_example_prints_its_numbers():
    @settings(SEARCH)
    @given(gms.mixtures())
    def examine(m):
        assert m.dim < 2

    with pytest.raises(AssertionError) as failure:
        examine()
    text = "".join(getattr(failure.value, "__notes__", []))
    assert "weights=array([1.])" in text
    assert "means=array([[0., 0.]])" in text


def test_most_examples_are_in_general_position():
    drawn = []

    @settings(max_examples=200, database=None)
    @given(gms.mixtures(n_components=4, dim=1, batch=()))
    def collect(m):
        drawn.append(len(np.unique(m.means)) == 4)

    collect()
    assert np.mean(drawn) > 0.9


# --- other inputs -------------------------------------------------------------------------------------------


@given(st.data())
def test_points_are_what_was_asked_for(data):
    batch, n, dim = data.draw(gms.batches), data.draw(st.integers(0, 3)), data.draw(gms.dims)
    x = data.draw(gms.points(dim=dim, batch=batch, n_points=n, dtype="float32"))
    assert (x.shape, x.dtype) == ((*batch, n, dim), np.float32)
    assert np.max(np.abs(x), initial=0.0) <= 4.0


@given(st.data())
def test_cotangents_have_the_shape_and_are_not_ones(data):
    ct = data.draw(gms.cotangents((2, 3), "float32"))
    assert (ct.shape, ct.dtype) == ((2, 3), np.float32)
    assert len(np.unique(ct)) == 6


@given(st.data())
def test_biases_broadcast_to_the_batch(data):
    batch = data.draw(gms.batches)
    bias = data.draw(gms.biases(batch=batch, low=-0.25, high=0.5))
    assert np.broadcast_shapes(np.shape(bias), batch) == batch
    assert np.all((np.asarray(bias) >= -0.25) & (np.asarray(bias) <= 0.5))


@given(st.data())
def test_rotations_are_orthogonal(data):
    dim, reflections = data.draw(st.integers(1, 4)), data.draw(st.booleans())
    q = data.draw(gms.rotations(dim=dim, reflections=reflections))
    assert_close("sum", q @ q.T, np.eye(dim), size=dim)
    assert reflections or np.linalg.det(q) > 0


def test_rotations_shrink_to_the_identity_and_to_permutations():
    assert smallest(gms.rotations(dim=3), lambda q: True).tolist() == np.eye(3).tolist()
    q = smallest(gms.rotations(dim=3, reflections=False), lambda q: q[0, 0] == 0)
    assert sorted(np.abs(q).ravel().tolist()) == [0.0] * 6 + [1.0] * 3


@given(gms.affine_maps(dim=3, max_condition=20.0))
def test_affine_maps_are_invertible(drawn):
    matrix, shift = drawn
    assert np.linalg.cond(matrix) <= 20.0 * (1 + 1e-6)
    assert shift.shape == (3,)


@given(gms.conditions(1e6), gms.scalars(-2.0, 3.0), gms.signs)
def test_numbers_are_in_their_ranges_and_not_subnormal(condition, x, sign):
    assert 1.0 <= condition <= 1e6 * (1 + 1e-9)
    assert -2.0 <= x <= 3.0
    assert x == 0 or abs(x) >= np.finfo(float).tiny
    assert abs(sign) == 1.0


# --- networks -----------------------------------------------------------------------------------------------


@given(st.data())
def test_networks_accept_the_samples_and_parameters_drawn_for_them(data):
    net = data.draw(gms.networks(kernel_components=2, bias=st.booleans()))
    batch = data.draw(gms.samples(net))
    params, state = data.draw(gms.parameters(net, batch))
    logs, _ = net.apply(params, state, batch.mixtures)
    assert logs.shape == (batch.mixtures.batch[0], net.classes) == (len(batch.labels), net.classes)
    assert np.all((batch.labels >= 0) & (batch.labels < net.classes))
    assert all(np.all(a != 0) for name, a in params.items() if name.endswith("bias"))
    assert (batch.mixtures.weights >= 0).all()


def test_networks_shrink_to_one_layer_in_one_dimension():
    net = smallest(gms.networks(kernel_components=2), lambda net: True)
    assert (net.spec, net.dim) == ("1/2 -> 2", 1)
    deeper = smallest(gms.networks(kernel_components=2), lambda net: len(net.layers) == 2)
    assert (deeper.spec, deeper.dim) == ("1/2 -> 1/2 -> 2", 1)


def test_what_is_drawn_is_a_mixture():
    assert type(smallest(gms.mixtures(), lambda m: True)) is Mixture
