"""The loop: it learns, it is pure, its order is its own, and it says where it diverged."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest

from gmengine.autograd import value_and_grad
from gmengine.data import Dataset
from gmengine.errors import NonFiniteError
from gmengine.optim import SGD, Adam, ReduceOnPlateau, clip_by_global_norm
from gmengine.training import Learner, RunConfig, run_epoch, train_epoch, train_step
from gmengine.training.checkpoint import make_network
from gmengine.training.progress import Model, evaluated


def make_learner(n_train: int = 60, **fields: object) -> Learner:
    given = {"layers": "1/6 -> 4/3 -> 3", "epochs": 3, "batch_size": 10, "lr": 0.02, "dtype": "float64"}
    config = RunConfig(**{**given, **fields})
    return Learner(config, make_network(config, 2), n_train)


def assert_same(a: dict, b: dict) -> None:
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])


def test_three_classes_of_dots_are_learned(dots):
    learner = make_learner(epochs=6)
    progress = learner.init()
    for _ in range(6):
        progress = run_epoch(learner, progress, dots, dots)
    losses = [line["train_loss"] for line in progress.history]
    assert losses[-1] < 0.5 * losses[0]
    assert progress.history[-1]["valid_accuracy"] > 0.9
    assert [line["epoch"] for line in progress.history] == [1, 2, 3, 4, 5, 6]
    assert [line["step"] for line in progress.history] == [6, 12, 18, 24, 30, 36]


def test_an_epoch_changes_nothing_that_it_was_given(dots):
    learner = make_learner(average=0.5)
    before = learner.init()
    kept = copy.deepcopy(before)
    after = run_epoch(learner, before, dots, dots)
    assert_same(before.model.params, kept.model.params)
    assert_same(before.model.state, kept.model.state)
    assert_same(before.adam.first, kept.adam.first)
    assert before.history == ()
    assert not np.array_equal(after.model.params["layer0.weights"], before.model.params["layer0.weights"])


def test_the_same_epoch_twice_gives_the_same_bits(dots):
    learner = make_learner(dtype="float32")
    small = dataclasses.replace(dots, mixtures=dots.mixtures.astype("float32"))
    runs = [train_epoch(learner, learner.init(), small) for _ in range(2)]
    assert runs[0][1] == runs[1][1]
    assert_same(runs[0][0].model.params, runs[1][0].model.params)


def order_of_labels(monkeypatch, learner: Learner, epoch: int, dots: Dataset) -> list[int]:
    seen: list[int] = []

    def look(learner, progress, batch):
        seen.extend(batch.mixtures.weights[:, 0, 0])
        return progress._replace(step=progress.step + 1), 0.0, 0

    with monkeypatch.context() as patch:
        patch.setattr("gmengine.training.loop.train_step", look)
        train_epoch(learner, learner.init()._replace(epoch=epoch - 1), dots)
    return seen


def test_the_order_depends_on_seed_and_epoch_and_nothing_else(monkeypatch, dots):
    def order(epoch, **fields):
        return order_of_labels(monkeypatch, make_learner(**fields), epoch, dots)

    first = order(1)
    assert sorted(first) == sorted(dots.mixtures.weights[:, 0, 0])
    assert order(1, lr=0.5) == first
    assert order(2) != first
    assert order(1, seed=1) != first


def test_only_full_batches_are_trained_on(monkeypatch, dots):
    assert len(order_of_labels(monkeypatch, make_learner(batch_size=25), 1, dots)) == 50
    assert make_learner(batch_size=25).steps_per_epoch == 2


def test_a_split_smaller_than_a_batch_is_one_batch(monkeypatch, dots):
    learner = make_learner(n_train=7)
    assert (learner.batch_size, learner.steps_per_epoch) == (7, 1)
    assert len(order_of_labels(monkeypatch, learner, 1, dots[:7])) == 7


@pytest.mark.parametrize("schedule", ["constant", "one_cycle"])
def test_a_step_is_adam_on_the_clipped_gradient_then_the_decay(dots, schedule):
    learner = make_learner(weight_decay=0.7, max_norm=0.01, schedule=schedule)
    progress, batch = learner.init(), dots[:10]
    after, loss, correct = train_step(learner, progress, batch)
    params, state = progress.model
    (value, _), grads = value_and_grad(learner.net.loss, aux=True)(params, state, batch)
    assert loss == float(value)
    assert 0 <= correct <= 10
    grads, norm = clip_by_global_norm(grads, 0.01)
    assert norm > 0.01
    scale = learner.pace.scale(0)
    expected, _ = Adam(lr=0.02).update(params, grads, Adam(lr=0.02).init(params), scale)
    decaying = {name: p for name, p in expected.items() if name.endswith((".weights", ".factors"))}
    slopes = value_and_grad(lambda p: learner.net.weight_decay({**expected, **p}))(decaying)[1]
    decay = SGD(lr=0.7 * 0.02)
    expected |= decay.update(decaying, slopes, decay.init(decaying), scale)[0]
    assert_same(after.model.params, expected)
    assert after.step == 1


def test_without_decay_there_is_no_second_step(dots):
    learner = make_learner(weight_decay=0.0)
    assert learner.decay is None
    after, _, _ = train_step(learner, learner.init(), dots[:10])
    assert not np.array_equal(
        after.model.params["layer0.weights"], learner.init().model.params["layer0.weights"]
    )


def test_the_average_leans_on_past_models_and_is_what_is_measured(dots):
    learner = make_learner(average=0.75)
    start = learner.init()
    after, _, _ = train_step(learner, start, dots[:10])
    for name, new in after.model.params.items():
        old = start.model.params[name]
        np.testing.assert_allclose(after.average.params[name], 0.75 * old + 0.25 * new, rtol=1e-12)
    assert evaluated(after) is after.average
    without = make_learner().init()
    assert without.average is None
    assert evaluated(without) is without.model


def test_one_cycle_ends_at_almost_nothing_and_its_last_rate_is_recorded(dots):
    learner = make_learner(epochs=2)
    progress = learner.init()
    for _ in range(2):
        progress = run_epoch(learner, progress, dots, dots[:20])
    assert progress.history[-1]["lr"] == pytest.approx(0.02 * 1e-4)
    assert progress.history[0]["lr"] == 0.02 * learner.pace.scale(5)


def test_a_plateau_lowers_all_rates_and_the_best_epoch_is_the_result(monkeypatch, dots):
    monkeypatch.setattr(Learner, "plateau", ReduceOnPlateau(mode="min", patience=0, factor=0.5))
    losses = iter([1.0, 0.5, 0.9, 0.8])
    found = make_learner().init().model.measured(make_learner().net, dots)
    monkeypatch.setattr(
        Model, "measured", lambda self, net, ds: found._replace(loss=next(losses), accuracy=0.5)
    )
    learner = make_learner(schedule="plateau", epochs=4)
    progress = learner.init()
    models = []
    for _ in range(4):
        progress = run_epoch(learner, progress, dots, dots)
        models.append(progress.model)
    assert [line["lr"] for line in progress.history] == [0.02, 0.02, 0.02, 0.01]
    assert progress.plateau.scale == 0.25
    assert learner.result(progress) == (2, models[1])
    assert make_learner(schedule="constant").result(progress) == (4, models[3])


def test_divergence_names_the_place_and_what_to_try(dots):
    learner = make_learner(lr=1e200, weight_decay=0.0)
    with pytest.raises(NonFiniteError, match=r"epoch 1, batch 2, step 2.*smaller lr"):
        run_epoch(learner, learner.init(), dots, dots)


def test_a_model_with_nan_never_leaves_an_epoch(monkeypatch, dots):
    def poison(learner, progress, batch):
        params = {**progress.model.params, "norm.beta": np.full(3, np.nan)}
        return progress._replace(step=progress.step + 1, model=progress.model._replace(params=params)), 1.0, 0

    monkeypatch.setattr("gmengine.training.loop.train_step", poison)
    with pytest.raises(NonFiniteError, match=r"norm\.beta.*end of epoch 1"):
        run_epoch(make_learner(), make_learner().init(), dots, dots)


def test_an_epoch_ends_with_the_statistics_of_its_last_parameters(dots):
    learner = make_learner(n_train=60, batch_size=30, augment=0.0)
    after = run_epoch(learner, learner.init(), dots, dots)
    two_batches = [dots[:30].mixtures, dots[30:].mixtures]  # other batches of the same samples
    fresh = learner.net.calibrate(after.model.params, two_batches)
    lagging = train_epoch(learner, learner.init(), dots)[0].model.state
    for name in ("norm.mean", "layer0.log_trace"):
        distance = np.abs(after.model.state[name] - fresh[name]).max()
        assert distance < 0.5 * np.abs(lagging[name] - fresh[name]).max(), name


def test_random_maps_are_drawn_for_every_batch_unless_switched_off(dots):
    plain, varied, again = (
        train_epoch(learner, learner.init(), dots)[0].model.params
        for learner in (make_learner(augment=a) for a in (0.0, 0.1, 0.1))
    )
    assert_same(varied, again)
    assert not np.array_equal(plain["layer0.weights"], varied["layer0.weights"])
