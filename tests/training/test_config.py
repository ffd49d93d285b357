"""The configuration is one value: checked, carried by JSON, and firm about what may change later."""

from __future__ import annotations

import dataclasses
import json
import os

import pytest

from gmengine.errors import ArgumentError
from gmengine.training import RunConfig, environment_options

FULL = RunConfig(
    dataset="digits",
    layers="1/8 -> 4/4 -> 10",
    fit={"steps": 5},
    network={"radius": 2.0, "bias": True},
    epochs=7,
    batch_size=11,
    lr=0.003,
    schedule="plateau",
    weight_decay=0.2,
    max_norm=3.0,
    augment=0.05,
    augmentation={"rotation": "full", "drop": 0.1},
    average=0.9,
    seed=5,
    dtype="float64",
    device="cuda:1",
    limit_train=100,
)


def test_json_brings_every_field_back():
    default = RunConfig()
    assert all(getattr(FULL, f.name) != getattr(default, f.name) for f in dataclasses.fields(FULL)[1:])
    assert RunConfig.from_json(json.loads(json.dumps(FULL.to_json()))) == FULL


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0),
        ("epochs", 2.0),
        ("epochs", True),
        ("batch_size", 1),
        ("lr", 0.0),
        ("lr", float("nan")),
        ("lr", "0.1"),
        ("schedule", "cosine"),
        ("weight_decay", -0.1),
        ("max_norm", float("inf")),
        ("average", 1.0),
        ("augment", 0.5),
        ("augmentation", {"linear": 0.1}),
        ("augmentation", {"rotation": 7}),
        ("augmentation", ["drop"]),
        ("seed", -1),
        ("dtype", "float16"),
        ("device", None),
        ("limit_train", 1),
        ("network", {"colour": 1}),
        ("network", {"dtype": "float64"}),
        ("network", [1]),
        ("fit", {"colour": 1}),
        ("fit", {"components": 8}),
        ("fit", {"read": 7}),
        ("fit", [1]),
    ],
)
def test_a_bad_value_is_refused_by_the_name_of_its_field(field, value):
    with pytest.raises(ArgumentError, match=field):
        RunConfig(**{field: value})


def test_an_unknown_field_is_refused():
    with pytest.raises(ArgumentError, match="'momentum'"):
        RunConfig.from_json({"momentum": 0.9})


def test_a_store_is_remembered_by_its_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = RunConfig(dataset="sub/dots.npz")
    assert config.dataset == os.path.join(os.getcwd(), "sub", "dots.npz")
    assert config.reads_file
    assert not RunConfig(dataset="digits").reads_file


def test_folders_are_remembered_by_their_absolute_paths_and_names_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mnist").mkdir()
    here = os.getcwd()
    asked = {
        "mine": f"{here}/mine",
        "./mnist": f"{here}/mnist",
        "mnist": "mnist",
        "mnist:raw/a.npz": f"mnist:{here}/raw/a.npz",
        "theirs": "theirs",
    }
    for dataset, kept in asked.items():
        config = RunConfig(dataset=dataset)
        assert config.dataset == kept
        assert not config.reads_file
        assert RunConfig.from_json(config.to_json()) == config


def test_a_run_goes_on_only_as_it_began():
    assert FULL.continued({}) == FULL
    assert FULL.continued({"lr": 0.003}) == FULL
    assert FULL.continued({"device": "cpu"}).device == "cpu"
    assert FULL.continued({"epochs": 9}).epochs == 9
    with pytest.raises(ArgumentError, match=r"batch-size 11, not 12"):
        FULL.continued({"batch_size": 12})
    one_cycle = dataclasses.replace(FULL, schedule="one_cycle")
    with pytest.raises(ArgumentError, match="epochs 7, not 9"):
        one_cycle.continued({"epochs": 9})


def test_the_environment_sets_device_and_dtype():
    environ = {"GMENGINE_DEVICE": "cuda:1", "GMENGINE_DTYPE": "float64", "GMENGINE_SEED": "3"}
    assert environment_options(environ) == {"device": "cuda:1", "dtype": "float64"}
    assert environment_options({"GMENGINE_DEVICE": ""}) == {}
