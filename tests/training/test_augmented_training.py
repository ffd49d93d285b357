"""Augmentation as a run declares it: seeded, resumable, and nothing new where nothing is declared."""

import argparse
import json
from dataclasses import replace

import numpy as np
import pytest

from gmengine.cli import train as command
from gmengine.data import save_dataset
from gmengine.errors import ArgumentError
from gmengine.mixture import Mixture
from gmengine.testing import assert_close
from gmengine.testing.strategies import random_mixture
from gmengine.training import Learner, RunConfig, resume, train, train_epoch
from gmengine.training.checkpoint import make_network

EVERYTHING = {"rotation": "full", "scale": 0.2, "shift": 0.1, "reflect": "xy", "drop": 0.1, "jitter": 0.1}


class KilledError(Exception):
    """Ends a run where a process would be killed."""


def params_after(config, dots):
    config = replace(config, dtype="float64")
    learner = Learner(config, make_network(config, 2), len(dots))
    return train_epoch(learner, learner.init(), dots)[0].model.params


def assert_same_params(a, b):
    assert list(a) == list(b)
    for name in a:
        assert_close("exact", a[name], b[name], name=name)


def test_a_run_that_declares_no_augmentation_is_the_run_it_always_was(monkeypatch, config, dots):
    def formula(mixture, augmentation, *, rng):
        maps = np.eye(2) + 0.1 * rng.standard_normal((len(mixture), 2, 2))
        a = maps.astype(mixture.dtype)[:, None, None]
        pushed = a @ mixture.covariances @ np.swapaxes(a, -1, -2)
        symmetric = (pushed + np.swapaxes(pushed, -1, -2)) / 2
        return Mixture(mixture.weights, (a @ mixture.means[..., None])[..., 0], symmetric)

    found = params_after(config, dots)
    monkeypatch.setattr("gmengine.training.loop.augmented", formula)
    assert_same_params(found, params_after(config, dots))


def test_declared_variations_depend_on_the_seed_alone(config, dots):
    varied = replace(config, augmentation=EVERYTHING)
    assert_same_params(params_after(varied, dots), params_after(varied, dots))
    for other in (config, replace(varied, seed=1)):
        assert not np.array_equal(
            params_after(other, dots)["layer0.weights"], params_after(varied, dots)["layer0.weights"]
        )


def test_an_interrupted_augmented_run_goes_on_to_the_same_bits(config, tmp_path):
    varied = replace(config, augmentation=EVERYTHING)
    whole = train(varied, out=tmp_path / "whole")

    def stop(line):
        if line["epoch"] == 2:
            raise KilledError

    with pytest.raises(KilledError):
        train(varied, out=tmp_path / "cut", on_epoch=stop)
    rest = resume(tmp_path / "cut")
    assert_same_params(rest.params, whole.params)
    assert json.loads((tmp_path / "cut" / "config.json").read_text())["augmentation"] == EVERYTHING
    with pytest.raises(ArgumentError, match="augmentation"):
        resume(tmp_path / "cut", {"augmentation": {}})


def test_a_configuration_from_before_there_was_augmentation_is_read(config):
    fields = config.to_json()
    del fields["augmentation"]
    assert RunConfig.from_json(fields) == config
    assert config.augmentation == {}
    assert config.variation.linear == config.augment


def test_an_augmentation_of_another_dimension_is_refused_before_the_first_epoch(tmp_path, config, dots):
    out = tmp_path / "run"
    with pytest.raises(ArgumentError, match="2-D mixtures have no axis z"):
        train(replace(config, augmentation={"reflect": "z"}), out=out)
    assert not out.exists()
    line = replace(dots, mixtures=random_mixture(0, (len(dots), 1), 6, 1))
    save_dataset(tmp_path / "line.npz", line)
    with pytest.raises(ArgumentError, match="rotation"):
        train(replace(config, dataset=str(tmp_path / "line.npz"), augmentation={"rotation": 1.0}), out=out)


def test_the_command_hands_variations_to_the_configuration(monkeypatch, config):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    seen = []

    def caught(given, **options):
        seen.append(given)
        raise KilledError

    monkeypatch.setattr(command, "train", caught)
    flags = ["--augment", "0.05"]
    for option in ("rotation=full", "axis=y", "drop=0.1", "reflect=xz"):
        flags += ["--augmentation", option]
    with pytest.raises(KilledError):
        command.run(parser.parse_args([config.dataset, *flags]))
    (given,) = seen
    assert given.augment == 0.05
    assert given.augmentation == {"rotation": "full", "axis": "y", "drop": 0.1, "reflect": "xz"}
    with pytest.raises(ArgumentError, match=r"--augmentation: expected OPTION=VALUE, got 'drop'"):
        command.run(parser.parse_args([config.dataset, "--augmentation", "drop"]))
