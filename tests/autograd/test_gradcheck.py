"""The gradient checker accepts what is right and rejects every planted fault."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from gmengine.autograd import Primitive, Tape, arrays, check_vjp, value_of
from gmengine.errors import ArgumentError, BackendError, DTypeError, ShapeError
from gmengine.testing.strategies import random_mixture

RNG = np.random.default_rng(11)
X, Y = RNG.uniform(0.5, 2.0, (2, 3)), RNG.uniform(0.5, 2.0, (2, 3))


@dataclass(frozen=True, eq=False)
class Mix:
    """Shaped like a Mixture."""

    weights: Any
    means: Any
    covariances: Any


def mix(n: int = 4, dim: int = 2) -> Mix:
    return Mix(*random_mixture(RNG, (), n, dim, signed=False).arrays)


def with_rule(rule):
    """Return (x, y) -> x^2 y, whose gradients `rule` claims to know from (x, y, g, needs)."""

    @Primitive
    def planted_p(x, y):
        return (x * x * y,), (x, y)

    planted_p.defvjp(lambda residuals, cotangents, needs: rule(*residuals, cotangents[0], needs))
    return planted_p


def right(x, y, g, needs):
    return 2 * x * y * g, x * x * g


FAULTS = {
    "swapped": lambda x, y, g, needs: right(x, y, g, needs)[::-1],
    "negated": lambda x, y, g, needs: tuple(-r for r in right(x, y, g, needs)),
    "first missing": lambda x, y, g, needs: (None, right(x, y, g, needs)[1]),
    "second missing": lambda x, y, g, needs: (right(x, y, g, needs)[0], None),
    "all missing": lambda x, y, g, needs: (None, None),
    "cotangent ignored": lambda x, y, g, needs: right(x, y, np.ones_like(g), needs),
    "cotangent summed": lambda x, y, g, needs: right(x, y, np.full_like(g, g.mean()), needs),
    "1 % off": lambda x, y, g, needs: (1.01 * right(x, y, g, needs)[0], right(x, y, g, needs)[1]),
    "0.01 % off in one": lambda x, y, g, needs: (right(x, y, g, needs)[0], 1.0001 * x * x * g),
    "off in one element": lambda x, y, g, needs: (2 * x * y * g * (1 + 0.1 * (x == x.max())), x * x * g),
    "factor missing": lambda x, y, g, needs: (x * y * g, x * x * g),
    "transposed": lambda x, y, g, needs: (right(x, y, g, needs)[0], (x * x * g).T.reshape(2, 3)),
    "not a number": lambda x, y, g, needs: (np.nan * x, x * x * g),
    "infinite": lambda x, y, g, needs: (2 * x * y * g, np.inf * x),
    "wrong dtype": lambda x, y, g, needs: (right(x, y, g, needs)[0].astype(np.float32), x * x * g),
    "wrong shape": lambda x, y, g, needs: (right(x, y, g, needs)[0].sum(axis=0), x * x * g),
    "broadcast not undone": lambda x, y, g, needs: (right(x, y, g, needs)[0], (x * x * g)[None]),
    "wrong when alone": lambda x, y, g, needs: right(x, y, g if all(needs) else 2 * g, needs),
    "missing when alone": lambda x, y, g, needs: right(x, y, g, needs) if needs[0] else (None, None),
}


def test_the_right_rule_passes():
    check_vjp(with_rule(right), X, Y, n_directions=5)


@pytest.mark.parametrize("fault", FAULTS)
def test_every_planted_fault_is_rejected(fault):
    with np.errstate(invalid="ignore"), pytest.raises(AssertionError, match="check_vjp"):
        check_vjp(with_rule(FAULTS[fault]), X, Y)


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_rejected_inside_a_larger_function(fault):
    planted = with_rule(FAULTS[fault])
    with np.errstate(invalid="ignore"), pytest.raises(AssertionError, match="check_vjp"):
        check_vjp(lambda m: {"a": arrays.exp(planted(m["x"], m["y"])[0]), "b": m["x"]}, {"x": X, "y": Y})


def test_the_message_names_the_input_and_both_numbers():
    fault = with_rule(FAULTS["second missing"])
    with pytest.raises(AssertionError) as caught:
        check_vjp(lambda a, b: fault(a, b), X, Y)
    message = str(caught.value)
    for part in (
        "by rule",
        "by differences",
        "input[0] (2, 3)",
        "input[1] (2, 3)",
        "no gradient reached input[1]",
    ):
        assert part in message


def test_a_wrong_gradient_cannot_hide_behind_a_larger_one():
    planted = with_rule(FAULTS["0.01 % off in one"])
    check_vjp(planted, X, Y, rtol=1e-3)
    with pytest.raises(AssertionError, match=r"along input\[1\] is wrong"):
        check_vjp(lambda a, b: planted(a, b)[0] + 1e4 * a, X, Y)


def test_a_forgotten_output_is_found():
    @Primitive
    def both_p(x):
        return (x * x, x * 3.0), x

    both_p.defvjp(lambda x, cotangents, needs: (2 * x * cotangents[0],))
    with pytest.raises(AssertionError, match="is wrong"):
        check_vjp(both_p, X)


def test_a_dependence_that_is_not_recorded_is_found():
    with pytest.raises(AssertionError, match="is wrong"):
        check_vjp(lambda x: x * value_of(x), X)
    with pytest.raises(AssertionError, match="no gradient reached"):
        check_vjp(lambda x: value_of(x) * 2.0, X)


def test_an_input_without_influence_needs_no_gradient():
    check_vjp(lambda x, y: x * x, X, Y)
    check_vjp(lambda m: m.weights * 2.0, mix())


def test_outputs_may_be_any_structure_and_indices_are_passed_over():
    check_vjp(lambda x: {"a": [x * x, None], "order": np.argsort(value_of(x)), "pair": (x.sum(), 2.0 * x)}, X)


def test_a_silent_change_of_dtype_is_found():
    with pytest.raises(AssertionError, match="output of float64 inputs is float32"):
        check_vjp(lambda x: value_of(x).astype(np.float32), X)


def test_covariances_of_a_mixture_are_varied_symmetrically():
    seen = []

    def lower_triangle(m):
        seen.append(value_of(m.covariances))
        return arrays.cholesky(m.covariances)

    check_vjp(lower_triangle, mix())
    assert all(np.array_equal(c, c.swapaxes(-1, -2)) for c in seen)
    assert any(not np.array_equal(c, seen[0]) for c in seen)
    check_vjp(lambda pair: arrays.cholesky(pair["m"].covariances), {"m": mix()})


def test_plain_arrays_are_varied_symmetrically_on_request():
    cov = mix().covariances
    check_vjp(lambda x, c: x.sum() * arrays.cholesky(c), X, cov, symmetric=(1,))
    with pytest.raises(AssertionError, match="is wrong"):
        check_vjp(lambda x, c: x.sum() * arrays.cholesky(c), X, cov)


def test_absent_components_are_not_varied():
    m = mix()
    m.weights[1], m.means[1], m.covariances[1] = 0.0, 7.0, 0.0
    seen = []

    def present_only(m):
        seen.append([value_of(a)[1] for a in (m.weights, m.means, m.covariances)])
        here = value_of(m.weights) != 0.0
        return arrays.where(here, m.weights * arrays.trace(m.covariances) + m.means[:, 0], 0.0)

    check_vjp(present_only, m)
    for weight, mean, covariance in seen:
        assert weight == 0.0
        assert (mean == 7.0).all()
        assert (covariance == 0.0).all()


def test_given_tangents_are_used():
    x, along = np.array([0.0, 1.0]), np.array([0.0, 1.0])
    check_vjp(arrays.sqrt, np.array([1.0, 4.0]), tangents=(along,))
    check_vjp(lambda t: arrays.maximum(t, 0.0), x, tangents=(along,))
    with pytest.raises(AssertionError, match="is wrong"):
        check_vjp(lambda t: arrays.maximum(t, 0.0), x)
    with pytest.raises(ShapeError, match="tangents of shapes"):
        check_vjp(arrays.sqrt, X, tangents=(along,))


def test_inputs_are_never_written_to():
    x = X.copy()

    def careless(t):
        value_of(t)[0, 0] += 1.0
        return t * 1.0

    check_vjp(careless, x)
    assert np.array_equal(x, X)


def test_only_float64_arrays_are_checked():
    with pytest.raises(DTypeError, match=r"input\[1\] must be float64, got float32"):
        check_vjp(lambda x, y: x, X, Y.astype(np.float32))
    with pytest.raises(DTypeError, match="int64"):
        check_vjp(lambda x: x, np.arange(3))
    with pytest.raises(BackendError, match="got float"):
        check_vjp(lambda x: x, 1.0)
    with pytest.raises(BackendError, match="got Tensor"):
        check_vjp(lambda x: x, Tape().watch(X))
    with pytest.raises(ArgumentError, match="no floating-point array"):
        check_vjp(lambda x: [], X)


def test_the_same_seed_draws_the_same_directions():
    def drawn(rng):
        seen = []
        check_vjp(lambda x: seen.append(value_of(x)) or x * 1.0, X, rng=rng)
        return seen

    assert np.array_equal(drawn(3), drawn(3))
    assert np.array_equal(drawn(3), drawn(np.random.default_rng(3)))
    assert not np.array_equal(drawn(3), drawn(4))


def test_large_values_do_not_drown_the_check_in_rounding():
    check_vjp(lambda x: 1e8 + x * x, X)
    check_vjp(lambda x: 1e-8 * x * x, X)
