"""Data sets by name: every one is described, and none is imported, read or fitted before it is asked for."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from small_collections import contents, pictures, scatters

from gmengine.data import DATASETS, Collection, RawData, digits, fitted, load, open_store, save_dataset
from gmengine.data.catalogue import parse_spec
from gmengine.data.entry import Entry
from gmengine.errors import ArgumentError, DataError, FileFormatError
from gmengine.training import RunConfig

catalogue = import_module("gmengine.data.catalogue")
raw_module = import_module("gmengine.data.raw")
build_module = import_module("gmengine.data.build")
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GMENGINE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("GMENGINE_DATA_DIR", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def blobs(tmp_path, monkeypatch):
    """A data set "blobs" in the catalogue, whose raw data are a file; and a list that counts its readings."""
    readings: list[int] = []
    place = tmp_path / "blobs.raw"
    place.write_text("0")

    def read(folder, *, count=70, seed=0):
        readings.append(count)
        return pictures(count, seed=int(place.read_text()) + seed)

    entry = Entry(
        "blobs",
        "some blobs",
        "images",
        "CC0",
        "drawn at random",
        "make blobs",
        lambda folder: place,
        read,
        {"count": (70, "how many"), "seed": (0, "of the drawing"), "workers": (1, "no difference")},
        {"layers": "1/3 -> 2/2 -> 3"},
    )

    def read_alone(folder, *, workers=1, **options):
        return read(folder, **options)

    object.__setattr__(entry, "read", read_alone)
    module = type(sys)("gmengine.data.blobs")
    module.ENTRY = entry
    monkeypatch.setitem(sys.modules, "gmengine.data.blobs", module)
    monkeypatch.setitem(catalogue._ENTRIES, "blobs", ("blobs", "ENTRY"))
    return place, readings


def assert_same_parts(one, other):
    for a, b in zip(one, other, strict=True):
        for x, y in zip((*a.mixtures.arrays, a.labels), (*b.mixtures.arrays, b.labels), strict=True):
            assert x.dtype == y.dtype
            np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("name", DATASETS)
def test_every_data_set_says_what_it_is_and_how_to_get_it(name):
    entry = DATASETS[name]
    assert entry.name == name
    assert entry.summary
    assert "\n" not in entry.summary
    assert entry.kind in ("images", "clouds")
    assert all(text for _, text in entry.options.values())
    RunConfig(dataset=name, **entry.training)
    json.dumps({key: default for key, (default, _) in entry.options.items()})
    assert f"`{name}`" in (ROOT / "docs/data.md").read_text()


@pytest.mark.parametrize("name", [name for name in DATASETS if name not in ("digits", "synth-furniture")])
def test_a_folder_without_the_data_is_named(name, tmp_path):
    with pytest.raises(DataError, match=str(tmp_path)):
        RawData(f"{name}:{tmp_path}").collection()


def test_no_data_set_is_imported_before_it_is_asked_for():
    code = "import sys, gmengine; print([m for m in sys.modules if m in %r])"
    modules = {f"gmengine.data.{module}" for module, _ in catalogue._ENTRIES.values()} - {
        "gmengine.data.digits"
    }
    out = subprocess.run(
        [sys.executable, "-c", code % modules], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout
    assert out == "[]\n"


def test_a_spec_is_a_name_with_or_without_a_folder(monkeypatch):
    assert parse_spec("digits") == (DATASETS["digits"], None)
    assert parse_spec("mnist:/a:b").folder == Path("/a:b")
    monkeypatch.setenv("HOME", "/home/me")
    assert parse_spec("mnist:~/raw").folder == Path("/home/me/raw")
    with pytest.raises(DataError, match="unknown data set 'letters'; known are digits, fashion-mnist"):
        parse_spec("letters:/data")
    with pytest.raises(DataError, match="a folder after the colon"):
        parse_spec("mnist:")


def test_the_digits_as_a_collection_are_those_of_digits():
    found = RawData("digits").collection()
    assert isinstance(found, Collection)
    for number, part in enumerate(digits(2, cache=False)):
        np.testing.assert_array_equal(found.labels[found.parts == number], part.labels)
    with pytest.raises(DataError, match="part of the package"):
        RawData("digits:/folder").collection()


def test_the_digits_by_name_are_the_function_and_other_methods_make_a_store(cache):
    assert_same_parts(fitted("digits", 3, seed=1), digits(3, seed=1))
    assert not (cache / "stores").exists()
    other = fitted("digits", 3, method="kmeans")
    assert [len(part) for part in other] == [1258, 180, 359]
    assert len(list((cache / "stores").iterdir())) == 1


def test_fits_are_made_once_and_raw_data_are_not_read_again(blobs, monkeypatch):
    _, readings = blobs
    told = []
    first = fitted("blobs", 3, progress=lambda *numbers: told.append(numbers[:2]))
    assert told == [(0, 0), (64, 70), (70, 70)]
    monkeypatch.setattr(build_module, "fit_images", lambda *a, **k: pytest.fail("fitted again"))
    again = fitted("blobs", 3, read={"workers": 2}, progress=lambda *numbers: pytest.fail("no work"))
    assert_same_parts(first, again)
    assert readings == [70]


def test_other_data_or_options_are_fitted_apart(blobs, cache):
    place, readings = blobs
    first = fitted("blobs", 3)
    fitted("blobs", 2)
    fitted("blobs", 3, seed=1)
    fitted("blobs", 3, dtype="float64")
    smaller = fitted("blobs", 3, read={"count": 66})
    assert sum(map(len, smaller)) == 66
    place.write_text("17")
    fitted("blobs", 3)
    assert len(list((cache / "stores").iterdir())) == 6
    place.write_text("0")
    assert_same_parts(fitted("blobs", 3), first)
    assert readings[-1] == 70
    assert len(list((cache / "stores").iterdir())) == 6


def test_the_source_of_a_reader_is_part_of_what_the_cache_goes_by(blobs, monkeypatch):
    fitted("blobs", 3)
    assert RawData("blobs").is_known
    monkeypatch.setattr(import_module("gmengine.data._stamp"), "_readers", lambda: "changed")
    assert not RawData("blobs").is_known


def test_a_folder_of_raw_data_is_known_by_all_its_files(tmp_path):
    stamp = import_module("gmengine.data._stamp").stamp
    (tmp_path / "raw" / "a").mkdir(parents=True)
    (tmp_path / "raw" / "a" / "1.txt").write_text("one")
    (tmp_path / "raw" / "a" / "round").symlink_to(tmp_path / "raw")
    (tmp_path / "raw" / "void").symlink_to(tmp_path / "nowhere")
    seen = [stamp("x", tmp_path / "raw", {})]
    assert stamp("x", tmp_path / "raw", {}) == seen[0]
    (tmp_path / "raw" / "a" / "2.txt").write_text("two")
    seen.append(stamp("x", tmp_path / "raw", {}))
    os.utime(tmp_path / "raw" / "a" / "2.txt", (1, 1))
    seen += [stamp("x", tmp_path / "raw", options) for options in ({}, {"points": 3})]
    assert len(set(seen)) == 4


@pytest.mark.parametrize("collection", [pictures(9), scatters(9)], ids=["pictures", "scatters"])
def test_a_collection_comes_back_from_its_file(tmp_path, collection):
    path = tmp_path / "raw.npz"
    raw_module.save_collection(path, collection)
    found = raw_module.load_collection(path)
    assert found.checksum() == collection.checksum()
    assert (found.name, found.source, found.class_names) == (
        collection.name,
        collection.source,
        collection.class_names,
    )
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(FileFormatError, match=r"raw\.npz"):
        raw_module.load_collection(path)


def test_raw_data_that_are_kept_are_not_read_again_and_damage_costs_time_only(blobs, cache, caplog):
    _, readings = blobs
    want = RawData("blobs").collection(keep=True).checksum()
    kept = RawData("blobs").kept_at
    assert kept.parent == cache / "raw"
    assert RawData("blobs").collection().checksum() == want
    assert readings == [70]
    kept.write_bytes(kept.read_bytes()[:-9])
    with caplog.at_level(logging.WARNING, logger="gmengine"):
        assert RawData("blobs").collection().checksum() == want
    assert "raw data are read again" in caplog.text
    assert readings == [70, 70]


def test_keeping_what_was_read_but_not_kept_before_keeps_it(blobs):
    assert RawData("blobs").summary.name == "blobs"
    assert RawData("blobs").kept_at is None
    RawData("blobs").collection(keep=True)
    assert RawData("blobs").kept_at.exists()


def test_what_takes_long_to_read_is_kept(blobs, monkeypatch):
    monkeypatch.setattr(raw_module, "_SLOW", 0.0)
    RawData("blobs").collection()
    assert RawData("blobs").kept_at.exists()


@pytest.mark.parametrize("damage", ["store.json", "shard-00000.npz"])
def test_a_damaged_store_of_the_cache_is_mended(blobs, cache, caplog, damage):
    first = fitted("blobs", 3)
    (store,) = (cache / "stores").iterdir()
    before = contents(store)
    (store / damage).write_bytes(before[damage][: len(before[damage]) // 2])
    assert_same_parts(fitted("blobs", 3), first)
    assert contents(store) == before
    assert damage in caplog.text


def test_a_damaged_summary_is_replaced(blobs, cache, caplog):
    first = fitted("blobs", 3)
    (file,) = (cache / "raw").glob("*.json")
    file.write_text("{}")
    assert_same_parts(fitted("blobs", 3), first)
    assert "read again" in caplog.text


def test_without_a_cache_folder_data_are_fitted_each_time(blobs, tmp_path, monkeypatch, caplog):
    first = fitted("blobs", 3)
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("GMENGINE_CACHE_DIR", str(tmp_path / "file" / "below"))
    assert_same_parts(fitted("blobs", 3), first)
    assert "not kept" in caplog.text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "magic"}, "'magic'"),
        ({"components": 0}, "components"),
        ({"seed": -1}, "seed"),
        ({"read": {"colour": 1}}, "unknown option 'colour'; known are count, seed, workers"),
    ],
)
def test_wrong_options_of_a_fit_are_named_and_leave_no_store(blobs, cache, options, words):
    with pytest.raises(ArgumentError, match=words):
        fitted("blobs", **{"components": 3, **options})
    assert not list(cache.glob("stores/*"))


def test_load_takes_stores_and_files_as_well(blobs, cache, tmp_path):
    train, _, _ = parts = fitted("blobs", 3)
    (store,) = (cache / "stores").iterdir()
    assert_same_parts(load(str(store)), parts)
    assert load(str(store), dtype="float64")[0].mixtures.dtype == np.float64
    assert len(open_store(store)) == 70
    save_dataset(tmp_path / "train.npz", train)
    assert sum(map(len, load(str(tmp_path / "train.npz")))) == len(train)
    with pytest.raises(ArgumentError, match="fitted already; seed cannot"):
        load(str(store), seed=1)
    with pytest.raises(DataError, match=f"images:{cache}"):
        load(str(cache))
    with pytest.raises(DataError, match=r"unknown data set 'letters'.*files \*\.npz"):
        load("letters")
