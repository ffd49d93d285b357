"""Schedules and the plateau: end points, floors, and a written-out reference."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gmengine.errors import ArgumentError, NonFiniteError
from gmengine.optim import ConstantSchedule, OneCycle, ReduceOnPlateau


def test_a_cycle_begins_peaks_and_ends_where_it_says():
    cycle = OneCycle(
        max_scale=2.0, total_steps=101, warmup_fraction=0.3, initial_fraction=0.1, final_fraction=0.01
    )
    scales = [cycle.scale(step) for step in range(101)]
    assert scales[0] == pytest.approx(0.2)
    assert scales[30] == pytest.approx(2.0)
    assert scales[100] == pytest.approx(0.02)
    assert scales[15] == pytest.approx(1.1)  # half way up a half cosine is half the height
    assert np.argmax(scales) == 30
    assert (np.diff(scales[:31]) > 0).all()
    assert (np.diff(scales[30:]) < 0).all()
    assert cycle.scale(5000) == scales[100]


def test_a_cycle_without_warm_up_begins_at_its_peak():
    cycle = OneCycle(max_scale=1.0, total_steps=2, warmup_fraction=0.0)
    assert [cycle.scale(0), cycle.scale(1)] == [1.0, pytest.approx(1e-4)]


def test_a_constant_may_warm_up_linearly():
    assert [ConstantSchedule(0.5).scale(step) for step in (0, 7)] == [0.5, 0.5]
    warm = ConstantSchedule(1.0, warmup_steps=3)
    assert [warm.scale(step) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]


def reference_plateau(metrics, factor, patience, cooldown, threshold, floor):
    """The rule in words: count updates without improvement; those after a reduction do not count."""
    scale, best, bad, rest, scales = 1.0, None, 0, 0, []
    for metric in metrics:
        if best is None or metric > best + threshold * abs(best):
            best, bad = metric, 0
        else:
            bad += 1
        if rest:
            rest, bad = rest - 1, 0
        if bad > patience:
            scale, rest, bad = max(scale * factor, floor), cooldown, 0
        scales.append(scale)
    return scales


@pytest.mark.parametrize("cooldown", [0, 2])
@pytest.mark.parametrize("patience", [0, 1, 3])
def test_the_plateau_follows_its_rule_for_both_modes(patience, cooldown):
    rng = np.random.default_rng(0)
    metrics = np.cumsum(rng.normal(0.02, 0.1, 60))
    want = reference_plateau(metrics, 0.5, patience, cooldown, 0.01, 0.1)
    for mode, sign in (("max", 1), ("min", -1)):
        plateau = ReduceOnPlateau(mode, 0.5, patience, cooldown, 0.01, 0.1)
        state, got = plateau.init(), []
        for metric in metrics:
            state = plateau.update(sign * metric, state)
            got.append(state.scale)
        assert got == want
    assert min(want) < 1.0


def test_the_scale_never_falls_below_its_floor():
    plateau, scales = ReduceOnPlateau("min", factor=0.1, patience=0, min_scale=0.02), []
    state = plateau.init()
    for _ in range(6):
        state = plateau.update(1.0, state)
        scales.append(state.scale)
    assert scales == [1.0, 0.1, 0.02, 0.02, 0.02, 0.02]


def test_an_update_is_pure():
    plateau = ReduceOnPlateau(patience=0)
    first = plateau.update(0.5, plateau.init())
    assert plateau.update(0.4, first) == plateau.update(0.4, first)
    assert first == (1.0, 0.5, 0, 0)


def test_a_metric_that_is_no_number_is_an_error():
    plateau = ReduceOnPlateau()
    for bad in (math.nan, math.inf):
        with pytest.raises(NonFiniteError, match="metric"):
            plateau.update(bad, plateau.init())


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: ReduceOnPlateau("best"), "mode"),
        (lambda: ReduceOnPlateau(factor=1.0), "factor"),
        (lambda: ReduceOnPlateau(patience=-1), "patience"),
        (lambda: ReduceOnPlateau(cooldown=-1), "cooldown"),
        (lambda: ReduceOnPlateau(threshold=-1.0), "threshold"),
        (lambda: ReduceOnPlateau(min_scale=0.0), "min_scale"),
        (lambda: OneCycle(0.0, 10), "max_scale"),
        (lambda: OneCycle(1.0, 1), "total_steps"),
        (lambda: OneCycle(1.0, 10, warmup_fraction=1.0), "warmup_fraction"),
        (lambda: OneCycle(1.0, 10, initial_fraction=2.0), "initial_fraction"),
        (lambda: OneCycle(1.0, 10, final_fraction=-1.0), "final_fraction"),
        (lambda: OneCycle(1.0, 10).scale(-1), "step"),
        (lambda: ConstantSchedule(-1.0), "value"),
        (lambda: ConstantSchedule(1.0, -1), "warmup_steps"),
        (lambda: ConstantSchedule().scale(-1), "step"),
    ],
)
def test_numbers_out_of_range_are_named(make, field):
    with pytest.raises(ArgumentError, match=field):
        make()
