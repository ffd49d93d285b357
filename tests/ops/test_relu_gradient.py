"""relu: all dimensions; its gradient against finite differences, double precision and the original code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gmengine.autograd import check_vjp
from gmengine.mixture import Mixture
from gmengine.ops.relu import relu
from gmengine.testing import assert_close, laws, oracles, pull_back
from gmengine.testing import strategies as gms

DATA = Path(__file__).parents[1] / "data"


@given(st.data())
@pytest.mark.parametrize("dim", [1, 3, 4])
def test_weights_in_other_dimensions_are_those_of_the_loops(backend, dim, data):
    m = data.draw(gms.mixtures(dim=dim, absent=0.2, degenerate=True))
    bias = data.draw(gms.scalars(-0.5, 0.5))
    laws.relu_follows_its_formula(m, relu(backend.asarray(m), bias), bias)


@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("dim", [1, 2, 3, 4])
def test_the_gradient_is_that_of_finite_differences(dim, relative):
    m = gms.random_mixture(1, (3,), 6, dim, absent=0.2)
    bias = np.array([-0.05, 0.02, 0.3])
    check_vjp(lambda m, c: relu(m, c, relative=relative), m, bias, rng=2)


@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("shape", [(), (3,), (2, 1), (2, 3)])
def test_the_gradient_of_the_bias_sums_over_broadcast_axes(shape, relative):
    m, bias = gms.random_mixture(3, (2, 3), 5, 2), np.random.default_rng(4).uniform(-0.2, 0.2, shape)
    check_vjp(lambda m, c: relu(m, c, relative=relative), m, bias, rng=5)


@pytest.mark.parametrize("epsilons", [(0.3, 0.0, 0.2), (0.0, 0.1, 0.05)])
@pytest.mark.parametrize("relative", [True, False])
def test_the_gradient_is_right_for_other_epsilons(epsilons, relative):
    m, bias = gms.random_mixture(6, (2,), 5, 2), np.array([-0.04, 0.07])
    check_vjp(lambda m, c: relu(m, c, epsilons=epsilons, relative=relative), m, bias, rng=7)


@pytest.mark.parametrize("signed", [True, False])
def test_the_gradient_without_bias_is_that_of_finite_differences(signed):
    check_vjp(relu, gms.random_mixture(8, (2,), 9, 2, signed=signed), rng=9)


def test_many_components_have_the_gradient_of_finite_differences():
    check_vjp(relu, gms.random_mixture(10, (2,), 700, 2), np.array([-0.02, 0.03]), rng=11)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_components_too_far_apart_to_matter_have_finite_gradients(dtype):
    m = gms.random_mixture(19, (), 4, 2, dtype=dtype)
    far = Mixture(m.weights, np.array([[0, 0], [1e3, 0], [-1e10, 1e10], [1e20, 0]], dtype), m.covariances)
    _, (grads,) = pull_back(lambda m: relu(m).weights, far)
    for g in grads.arrays:
        assert np.all(np.isfinite(g))
    assert_close("exact", grads.means, np.zeros_like(grads.means))


@pytest.mark.parametrize("needed", ["weights", "means", "covariances", "bias"])
def test_each_input_can_be_the_only_one_that_needs_a_gradient(needed):
    m, bias = gms.random_mixture(12, (2,), 5, 2), np.array([-0.1, 0.2])

    def weights(part):
        fields = dict(zip(("weights", "means", "covariances"), m.arrays, strict=True)) | {
            "bias": bias,
            needed: part,
        }
        return relu(
            Mixture(*(fields[k] for k in ("weights", "means", "covariances"))), fields["bias"]
        ).weights

    _, (got,) = pull_back(weights, bias if needed == "bias" else getattr(m, needed), rng=13)
    _, (of_m, of_bias) = pull_back(lambda m, c: relu(m, c).weights, m, bias, rng=13)
    assert_close("exact", got, of_bias if needed == "bias" else getattr(of_m, needed))


@pytest.mark.parametrize("garbage", [0.0, -1.0, 1e3])
@pytest.mark.parametrize("relative", [True, False])
def test_absent_components_have_gradient_exactly_zero(garbage, relative):
    m = laws.padded(gms.random_mixture(14, (2,), 5, 2), 3, garbage)
    _, (grads, _) = pull_back(lambda m, c: relu(m, c, relative=relative).weights, m, np.array([-0.1, 0.2]))
    for g in grads.arrays:
        assert_close("exact", g[:, 5:], np.zeros_like(g[:, 5:]))


def test_a_mixture_of_absent_components_has_gradient_zero():
    m = gms.random_mixture(15, (2,), 4, 2, degenerate="all_absent")
    _, grads = pull_back(lambda m, c: relu(m, c).weights, m, np.array([-0.1, 0.2]))
    for g in (*grads[0].arrays, grads[1]):
        assert_close("exact", g, np.zeros_like(g))


def test_covariance_gradients_are_symmetric():
    _, (grads,) = pull_back(lambda m: relu(m).weights, gms.random_mixture(16, (2,), 7, 3))
    assert_close("exact", grads.covariances, np.swapaxes(grads.covariances, -1, -2))


@pytest.mark.parametrize("condition", [1e1, 1e4])
@pytest.mark.parametrize("dim", [2, 3])
def test_single_precision_agrees_with_double(dim, condition):
    m, bias = gms.random_mixture(17, (2,), 60, dim, condition=condition), np.array([-0.0625, 0.125])
    want, (want_m, want_bias) = pull_back(relu, m, bias, rng=18)
    got, (got_m, got_bias) = pull_back(relu, m.astype("float32"), bias.astype(np.float32), rng=18)
    assert_close("solve", got.weights, want.weights, size=60, condition=condition)
    for name in ("weights", "means", "covariances"):
        a, b = getattr(got_m, name), getattr(want_m, name)
        assert_close("gradient", a, b, size=60, condition=condition, name=name)
    assert_close("gradient", got_bias, want_bias, size=60, condition=condition, name="bias")


@pytest.mark.parametrize("case", ["zero", "mixed"])
@pytest.mark.parametrize("dim", [2, 3])
def test_values_and_gradients_match_the_original_code(dim, case):
    with np.load(DATA / f"relu_k{dim}_f64.npz") as file:
        golden = dict(file)
    m = Mixture(golden["weights"], golden["positions"], golden["covariances"])
    bias = golden[f"{case}_const"]
    out, (grads, grad_bias) = pull_back(
        lambda m, c: relu(m, c, epsilons=(0.1, 0.05, 0.05), relative=False).weights,
        m,
        bias,
        cotangent=golden[f"{case}_cotangent_weights"],
    )
    assert_close("golden", out, golden[f"{case}_new_weights"])
    assert_close("golden", grads.weights, golden[f"{case}_grad_weights"])
    assert_close("golden", grads.means, golden[f"{case}_grad_positions"])
    assert_close("golden", grads.covariances, golden[f"{case}_grad_covariances"])
    if case == "mixed":  # at a bias of exactly 0 the subgradients of max(c, 0) are a matter of taste
        through_constant = golden["mixed_cotangent_const"] * (bias > 0)
        assert_close("golden", grad_bias, golden["mixed_grad_const"] - through_constant)


@pytest.mark.parametrize("case", ["zero", "mixed"])
@pytest.mark.parametrize("dim", [2, 3])
def test_the_oracle_itself_matches_the_original_code(dim, case):
    with np.load(DATA / f"relu_k{dim}_f64.npz") as file:
        golden = dict(file)
    for b in np.ndindex(1, 2):
        m = (golden[name][b] for name in ("weights", "positions", "covariances"))
        got = oracles.relu(*m, float(golden[f"{case}_const"][b]), relative=False)
        assert_close("golden", got, golden[f"{case}_new_weights"][b])
