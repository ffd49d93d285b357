"""Measurements against counting by hand, and the file of lines."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from gmengine.errors import DataError
from gmengine.nn import network
from gmengine.training import accuracy, evaluate, predict, read_lines
from gmengine.training.metrics import append_line, write_lines


@pytest.fixture
def trained(dots):
    net = network("1/6 -> 4/3 -> 3", dtype="float64")
    params, state = net.init(0)
    return net, params, net.apply(params, state, dots.mixtures, training=True)[1]


def test_loss_and_accuracy_are_what_counting_gives(trained, dots):
    log_probabilities = predict(*trained, dots.mixtures)
    found = evaluate(*trained, dots)
    chosen = log_probabilities.argmax(axis=1)
    hits = [int(c) == int(label) for c, label in zip(chosen, dots.labels, strict=True)]
    assert found.n == len(dots) == 60
    assert found.accuracy == sum(hits) / 60 == accuracy(*trained, dots)
    by_hand = -np.mean([log_probabilities[i, label] for i, label in enumerate(dots.labels)])
    assert found.loss == pytest.approx(by_hand, rel=1e-12)
    for k in range(3):
        assert found.counts[k] == 20
        assert found.correct[k] == sum(
            hit for hit, label in zip(hits, dots.labels, strict=True) if label == k
        )


def test_probabilities_sum_to_one(trained, dots):
    np.testing.assert_allclose(np.exp(predict(*trained, dots.mixtures)).sum(axis=1), 1.0, rtol=1e-12)


@pytest.mark.parametrize("size", [1, 7, 60, 1000])
def test_the_size_of_batches_does_not_matter(trained, dots, size):
    whole = predict(*trained, dots.mixtures, batch_size=13)
    np.testing.assert_allclose(predict(*trained, dots.mixtures, batch_size=size), whole, rtol=1e-12)


def test_a_class_without_samples_is_counted_as_zero(trained, dots):
    found = evaluate(*trained, dots[dots.labels != 1])
    assert found.counts.tolist() == [20, 0, 20]
    assert found.correct[1] == 0


def test_a_label_beyond_the_networks_classes_is_refused(trained, dots):
    more = dataclasses.replace(dots, labels=dots.labels + 1, class_names=("a", "b", "c", "d"))
    with pytest.raises(DataError, match="from 0 to 2, got 1 to 3"):
        evaluate(*trained, more)


def test_nothing_to_predict_is_refused(trained, dots):
    with pytest.raises(DataError, match="at least one"):
        predict(*trained, dots.mixtures[:0])


def test_lines_come_back_and_replace_what_was_there(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = [{"epoch": 1, "loss": 0.1 + 0.2}, {"epoch": 2, "loss": 1e-300}]
    write_lines(path, [{"epoch": 9}])
    write_lines(path, lines[:1])
    append_line(path, lines[1])
    assert read_lines(path) == lines
    assert all(json.loads(text) for text in path.read_text().splitlines())


def test_nan_is_no_json(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_lines(tmp_path / "metrics.jsonl", [{"loss": float("nan")}])
