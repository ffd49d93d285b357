"""What a data set suggests, fitted to what is there; and which samples a limit takes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from gmengine.data import DATASETS, Collection, build
from gmengine.data.formats import idx
from gmengine.errors import ArgumentError, DataError
from gmengine.nn import network
from gmengine.training import RunConfig, load_part, load_splits, suited_options, train


def write_idx(folder, train, test, classes=3):
    """Write the four files of an IDX data set of tiny images."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for name, count in (("train", train), ("t10k", test)):
        images = rng.integers(0, 255, (count, 4, 4), np.uint8)
        labels = (np.arange(count) % classes).astype(np.uint8)
        for array, kind, magic in ((images, "images-idx3", 3), (labels, "labels-idx1", 1)):
            header = np.array([0x0800 + magic, *array.shape], ">u4").tobytes()
            (folder / f"{name}-{kind}-ubyte").write_bytes(header + array.tobytes())
    assert idx.read_idx(folder / "t10k-labels-idx1-ubyte").shape == (test,)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GMENGINE_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path):
    write_idx(tmp_path / "raw", 40, 12)
    return tmp_path / "raw"


@pytest.fixture
def store(tmp_path):
    """Sorted by class, as folders of files are."""
    labels = np.repeat(np.arange(3), (40, 20, 10))
    images = np.random.default_rng(0).random((70, 4, 4))
    parts = np.arange(70) % 10 // 8 + (np.arange(70) % 10 == 9)
    collection = Collection(images, labels, ("a", "b", "c"), parts, "sorted", "drawn at random", "CC0")
    build(collection, 2, tmp_path / "store")
    return tmp_path / "store"


def test_a_name_suggests_what_its_entry_says():
    name = "fashion-mnist"
    assert suited_options(name) == {"dataset": name, **DATASETS[name].training}
    assert RunConfig(**suited_options("digits")) == RunConfig()


def test_a_folder_gets_an_output_for_every_class_and_no_limit_beyond_its_samples(folder):
    assert DATASETS["mnist"].training["limit_train"] > 40
    found = suited_options(f"mnist:{folder}")
    assert found["layers"].rpartition(" -> ")[2] == "3"
    assert "limit_train" not in found


def test_a_store_gets_its_own_components_and_classes(store, monkeypatch):
    found = suited_options(str(store))
    assert found["layers"] == "1/2 -> 8/8 -> 3"
    monkeypatch.chdir(store.parent)
    assert RunConfig(**suited_options("store")).dataset == str(store)


def test_files_and_what_is_not_there_suggest_nothing(tmp_path):
    for dataset in (str(tmp_path / "a.npz"), "letters"):
        assert suited_options(dataset) == {"dataset": dataset}
    with pytest.raises(DataError, match="mnist"):
        suited_options(f"mnist:{tmp_path}")


def test_a_limit_takes_the_first_of_every_class_in_its_share(store):
    config = RunConfig(dataset=str(store), layers="1/2 -> 2/2 -> 3")
    net = network(config.layers)
    whole = load_splits(config, net)
    assert (whole.available, len(whole.train)) == (56, 56)
    some = load_splits(dataclasses.replace(config, limit_train=14), net)
    assert (some.available, len(some.train)) == (56, 14)
    assert np.bincount(some.train.labels).tolist() == [8, 4, 2]
    for label in range(3):
        mine, all_of_them = (part.mixtures.means[part.labels == label] for part in (some.train, whole.train))
        np.testing.assert_array_equal(mine, all_of_them[: len(mine)])
    np.testing.assert_array_equal(some.test.labels, whole.test.labels)


def test_a_run_on_a_folder_is_trained_tested_and_measured_on_other_data(folder, tmp_path):
    told, starts = [], []
    config = RunConfig(
        dataset=f"mnist:{folder}", layers="1/3 -> 2/2 -> 3", epochs=1, batch_size=8, fit={"steps": 2}
    )
    splits = load_splits(config, network(config.layers), lambda *numbers: told.append(numbers))
    assert told[0] == (0, 0, 0.0)
    assert told[-1][:2] == (52, 52)
    run = train(config, out=tmp_path / "run", on_epoch=starts.append)
    assert run.test["n"] == 12
    write_idx(tmp_path / "other", 20, 6)
    part, name, source = load_part(config, splits.task, run.net, f"mnist:{tmp_path / 'other'}")
    assert (len(part), name, source) == (26, "all", f"mnist:{tmp_path / 'other'}")
    assert part.mixtures.n_components == 3


def test_options_of_a_fit_do_not_go_with_a_store(store):
    config = RunConfig(dataset=str(store), layers="1/2 -> 2/2 -> 3", fit={"steps": 2})
    with pytest.raises(ArgumentError, match="fitted already; steps cannot"):
        load_splits(config, network(config.layers))
