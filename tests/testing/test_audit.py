"""The audit finds planted bugs, names the law, shows the smallest example, and passes what is right."""

from __future__ import annotations

import numpy as np
import pytest
from small_mixture import BUGS, Small

from gmengine.errors import ArgumentError
from gmengine.mixture import Mixture
from gmengine.ops.evaluate import evaluate
from gmengine.ops.reduce import reduce
from gmengine.testing import Algebra, AuditError, audit, laws, oracles

CAUGHT_BY = {
    "wrong normalisation": "quadrature_gives_the_integral",
    "transposed covariance": "evaluation_follows_rotation",
    "lost weight": "convolution_multiplies_integrals",
    "off by one": "reduction_has_exactly",
    "unsymmetrised gradient": "covariance_gradients_are_symmetric",
    "cancellation": "evaluation_is_exact_far_from_the_origin",
    "order dependence": "map_ignores_order",
    "revived padding": "map_ignores_absent",
    "wrong broadcast": "evaluation_broadcasts",
    "mutated input": "inputs_stay_unchanged",
}


def small(bug=None):
    return Algebra.from_triples(**Small(bug).functions())


# --- planted bugs -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found_by_the_law_that_it_breaks(bug):
    with pytest.raises(AuditError) as caught:
        audit(small(bug))
    violated = {v.law for v in caught.value.report.violated}
    assert CAUGHT_BY[bug] in violated
    assert len(violated) < len(caught.value.report.verdicts) / 4  # a bug breaks few laws, not everything


def test_the_module_without_bugs_passes():
    report = audit(small())
    assert report.violated == ()
    assert len(report.verdicts) > 40
    assert {v.law for v in report.verdicts} > set(CAUGHT_BY.values())


def test_gmengine_passes():
    report = audit(Algebra.of_gmengine())
    assert report.violated == ()
    assert len(report.verdicts) > 55


# --- what is reported ---------------------------------------------------------------------------------------


def doubled_in_two_dimensions(m, points):
    return evaluate(m, points) * (2.0 if m.dim == 2 else 1.0)


def violation(algebra, law, **options):
    with pytest.raises(AuditError) as caught:
        audit(algebra, laws=[law], **options)
    (verdict,) = caught.value.report.violated
    return verdict, str(caught.value)


def test_the_smallest_example_is_shown_so_that_it_can_be_typed_in():
    verdict, text = violation(Algebra(evaluate=doubled_in_two_dimensions), "evaluation_follows_its_formula")
    assert verdict.example.splitlines() == [
        "m = Mixture([1.0], [[0.0, 0.0]], [[[1.0, 0.0], [0.0, 1.0]]])",
        "points = np.array([[0.0, 0.0]])",
    ]
    assert 1 <= verdict.examples <= 20
    assert text.startswith(
        "audit: 1 of 1 laws are violated\n\nevaluation_follows_its_formula (evaluate): violated"
    )
    assert "values[0]: np.float64(0.318" in text
    names = {"Mixture": Mixture, "np": np}
    exec(verdict.example, names)
    with pytest.raises(AssertionError):
        laws.evaluation_follows_its_formula(names["m"], names["points"], evaluate=doubled_in_two_dimensions)


def test_dimensions_can_be_chosen():
    algebra = Algebra(evaluate=doubled_in_two_dimensions)
    audit(algebra, dims=(1, 3))
    verdict, _ = violation(algebra, "evaluation_follows_its_formula", dims=(2,))
    assert "[[0.0, 0.0]]" in verdict.example


def test_an_example_is_shown_as_it_was_before_the_function_wrote_to_it():
    def in_place(m, points):
        m.weights[...] = 7.0
        return evaluate(m, points)

    verdict, _ = violation(Algebra(evaluate=in_place), "inputs_stay_unchanged")
    assert "7.0" not in verdict.example
    assert "evaluate: input[0].weights has changed" in verdict.error


def test_an_exception_is_a_violation():
    def picky(m, points):
        if m.n_components > 2:
            raise ValueError("too many components")
        return evaluate(m, points)

    verdict, _ = violation(Algebra(evaluate=picky), "evaluation_ignores_order")
    assert verdict.error == "ValueError: too many components"
    assert "m = Mixture([1.0, 1.0, 1.0]" in verdict.example


def test_the_same_seed_gives_the_same_audit():
    def found(seed):
        return violation(
            Algebra(reduce=lambda m, n: reduce(m, n, "top")), "reduction_conserves_moments", seed=seed
        )

    assert found(3) == found(3)


def test_examples_can_be_fewer():
    report = audit(Algebra(evaluate=evaluate), max_examples=3, laws=["evaluation_is_linear"])
    assert report.verdicts[0].examples <= 4


def test_a_report_lists_what_held():
    report = audit(Algebra(evaluate=evaluate), laws=["evaluation_is_linear", "dtype_is_kept"])
    lines = str(report).splitlines()
    assert lines[0] == "2 laws, 0 violated"
    assert "evaluation_is_linear (evaluate): 20 examples" in lines


# --- what is asked of the functions -------------------------------------------------------------------------


def test_only_laws_whose_functions_are_given_run():
    report = audit(Algebra(evaluate=evaluate), max_examples=2)
    assert {name for v in report.verdicts for name in v.functions} == {"evaluate"}
    assert all("convolution" not in v.law for v in report.verdicts)


def strict(m, points):
    """Evaluate single mixtures of positive, present components in float64, and nothing else."""
    weights, means, covariances = m
    assert weights.ndim == 1
    assert points.ndim == 2
    assert (weights > 0).all()
    assert {a.dtype for a in (weights, means, covariances, points)} == {np.dtype("float64")}
    assert np.linalg.cond(covariances).max() <= 2.0 * (1 + 1e-6)
    return oracles.evaluate(weights, means, covariances, points)


def test_functions_get_only_what_they_are_made_for():
    limits = {
        "signed": False,
        "absent": False,
        "batches": ((),),
        "dtypes": ("float64",),
        "max_condition": 2.0,
    }
    chosen = [v.law for v in audit(Algebra.from_triples(evaluate=strict, **limits), max_examples=5).verdicts]
    assert "evaluation_ignores_absent" not in chosen
    assert "evaluation_broadcasts" not in chosen
    assert "evaluation_is_linear" in chosen


def test_triples_and_mixtures_are_interchangeable():
    def evaluate_triple(m, points):
        return evaluate(Mixture(*m), points)

    def reduce_triple(m, n):
        return reduce(Mixture(*m), n).arrays

    audit(Algebra.from_triples(evaluate=evaluate_triple, reduce=reduce_triple), max_examples=3)
    a, b = laws.on_mixtures(lambda m: (m, m), gives_mixtures=True)(Mixture([1.0], [[0.0]], [[[1.0]]]))
    assert isinstance(a, Mixture)
    assert isinstance(b, Mixture)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "at least one function"),
        ({"signed": False}, "at least one function"),
        ({"evaluate": evaluate, "dtypes": ("float32",)}, "float64"),
        ({"evaluate": evaluate, "dtypes": ("float64", "float16")}, "float16"),
        ({"evaluate": evaluate, "batches": ()}, "batch"),
        ({"evaluate_vjp": evaluate}, "evaluate_vjp was given without evaluate"),
    ],
)
def test_an_algebra_that_cannot_be_examined_is_refused(options, message):
    with pytest.raises(ArgumentError, match=message):
        Algebra(**options)


def test_requests_that_make_no_sense_are_refused():
    algebra = Algebra(evaluate=evaluate)
    with pytest.raises(ArgumentError, match="unknown laws \\['gravity'\\]"):
        audit(algebra, laws=["gravity"])
    with pytest.raises(ArgumentError, match="no law to run"):
        audit(algebra, laws=["convolution_commutes"])
    for dims in ((), (0, 1)):
        with pytest.raises(ArgumentError, match="dimensions"):
            audit(algebra, dims=dims)
