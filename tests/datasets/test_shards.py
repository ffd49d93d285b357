"""A store is opened at once, read when asked, and never taken for what it is not."""

from __future__ import annotations

import json
import os
import re
from importlib import import_module

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_collections import contents

from gmengine.data import Collection, Store, open_store
from gmengine.data._manifest import Manifest
from gmengine.data._summary import Summary
from gmengine.data.shards import Shard, shard_checksum, write_shard
from gmengine.errors import ArgumentError, DataError, FileFormatError, NonFiniteError, NotPositiveDefinite
from gmengine.files import read_npz, write_npz
from gmengine.testing.strategies import random_mixture

shards_module = import_module("gmengine.data.shards")


def make_store(folder, *, dim=2, dtype="float64", count=150, finished=True) -> tuple[Shard, Store | None]:
    """Write a store of random mixtures; return its whole content, too."""
    rng = np.random.default_rng(dim)
    labels, parts = rng.integers(0, 2, count), rng.integers(0, 3, count).astype(np.int8)
    collection = Collection(
        np.zeros((count, 1, 1)), labels, ("a", "ß"), parts, "made", "drawn at random", "CC0"
    )
    summary = Summary.of(collection).to_json() | {"dim": dim}
    whole = Shard(random_mixture(0, (count,), 3, dim).astype(dtype), labels, parts)
    manifest = Manifest(Summary.from_json(summary), {"components": 3}, dtype, 64)
    folder.mkdir(exist_ok=True)
    for i in range(manifest.n_shards):
        piece = slice(64 * i, 64 * (i + 1))
        write_shard(folder, manifest, i, Shard(whole.mixtures[piece], labels[piece], parts[piece]))
    checksums = tuple(shard_checksum(folder, i) for i in range(manifest.n_shards)) if finished else ()
    Manifest(manifest.collection, manifest.fit, dtype, 64, checksums).write(folder)
    return whole, open_store(folder) if finished else None


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    make_store(folder)
    return folder


@pytest.fixture
def copied(kept, tmp_path):
    for name, data in contents(kept).items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


@pytest.mark.parametrize("dim", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_was_written_comes_back_bit_for_bit_part_by_part(tmp_path, dim, dtype):
    whole, store = make_store(tmp_path, dim=dim, dtype=dtype)
    assert store.sizes == tuple(np.bincount(whole.parts).tolist())
    for number, (name, part) in enumerate(zip(("train", "valid", "test"), store.load(), strict=True)):
        chosen = whole.parts == number
        assert part.mixtures.batch == (chosen.sum(), 1)
        for got, again, want in zip(
            part.mixtures.arrays, store.part(name).mixtures.arrays, whole.mixtures.arrays, strict=True
        ):
            assert got.dtype == np.dtype(dtype)
            np.testing.assert_array_equal(got[:, 0], want[chosen])
            np.testing.assert_array_equal(got, again)
        np.testing.assert_array_equal(part.labels, whole.labels[chosen])
        assert (part.class_names, part.name, part.source) == (("a", "ß"), "made", "drawn at random")


def test_opening_reads_no_shard_and_knows_what_is_there(kept, monkeypatch):
    monkeypatch.setattr(shards_module, "read_npz", lambda *a: pytest.fail("a shard was read"))
    store = open_store(os.fspath(kept))
    assert len(store) == 150
    assert (store.name, store.class_names, store.manifest.n_shards) == ("made", ("a", "ß"), 3)
    assert repr(store).endswith("objects, 3 components, dim=2, float64)")


def test_a_part_or_shard_that_is_none_is_refused(kept):
    store = open_store(kept)
    with pytest.raises(ArgumentError, match="'all'"):
        store.part("all")
    for index in (-1, 3):
        with pytest.raises(ArgumentError, match="0 to 2"):
            store.shard(index)


def test_a_part_without_objects_is_empty(tmp_path):
    _, store = make_store(tmp_path, count=1)
    assert sorted(len(part) for part in store.load()) == [0, 0, 1]


def test_no_store_and_an_unfinished_one_are_told_apart(tmp_path, kept):
    for nothing in (tmp_path, tmp_path / "gone", kept / "store.json"):
        with pytest.raises(DataError, match="no store of mixtures"):
            open_store(nothing)
    make_store(tmp_path / "half", finished=False)
    (tmp_path / "half" / "shard-00001.npz").unlink()
    with pytest.raises(DataError, match=r"not finished \(2 of 3 shards\)"):
        open_store(tmp_path / "half")


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_shard_with_any_other_byte_is_refused_by_name(kept, tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("flipped")
    files = contents(kept)
    content = bytearray(files["shard-00001.npz"])
    if data.draw(st.booleans()):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    else:
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    for name, each in {**files, "shard-00001.npz": bytes(content)}.items():
        (folder / name).write_bytes(each)
    with pytest.raises(FileFormatError, match=r"shard-00001\.npz"):
        open_store(folder).load()


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_description_with_other_bytes_is_refused_or_describes_a_store(kept, tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("described")
    content = bytearray((kept / "store.json").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(
            st.sampled_from(b'0195-"[]{},:en \xff')
        )
    (folder / "store.json").write_bytes(content)
    with pytest.raises((FileFormatError, DataError), match=re.escape(str(folder))):
        open_store(folder).load()  # if it is still a description, its shards are missing


def changed(folder, change):
    path = folder / "store.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(format="other"), "expected the format"),
        (lambda c: c.update(version=2), "expected version 1, got 2"),
        (lambda c: c.pop("fit"), "lacks 'fit'"),
        (lambda c: c.update(fit=[]), "fit is no object"),
        (lambda c: c["fit"].update(components=0), "out of range"),
        (lambda c: c["fit"].update(components=2**70), "out of range"),
        (lambda c: c["collection"].update(counts=[[1, 1]] * 2), "three parts"),
        (lambda c: c["collection"].update(counts=[[-1, 1]] * 3), "out of range"),
        (lambda c: c["collection"].update(counts=[[0, 0]] * 3), "no objects"),
        (lambda c: c["collection"].update(licence=None), "no text"),
        (lambda c: c["collection"].update(dim=0), "out of range"),
        (lambda c: c.update(dtype="float16"), "'float16'"),
        (lambda c: c.update(shard_objects=0), "out of range"),
        (lambda c: c["shards"].pop(), "do not add up"),
        (lambda c: c["shards"][0].update(objects=65), "do not add up"),
        (lambda c: c.update(shards=7), "not the description"),
    ],
)
def test_a_description_that_contradicts_itself_is_refused(copied, change, words):
    changed(copied, change)
    with pytest.raises(FileFormatError, match=words) as caught:
        open_store(copied)
    assert str(caught.value).startswith(str(copied / "store.json"))


def test_a_description_without_an_end_is_refused(tmp_path):
    (tmp_path / "store.json").write_text("[" * 100_000)
    with pytest.raises(FileFormatError, match=r"store\.json"):
        open_store(tmp_path)


def rewritten(path, change):
    header, arrays = read_npz(path, "gmengine.store.shard", 1)
    change(header, arrays)
    write_npz(path, "gmengine.store.shard", 1, header, arrays)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda h, a: h.update(shard=1), "another store"),
        (lambda h, a: h.update(store="0" * 64), "another store"),
        (lambda h, a: a.pop("parts"), "expected the arrays"),
        (lambda h, a: a.update(weights=a["weights"][:, :2]), "weights is"),
        (lambda h, a: a.update(means=a["means"].astype(np.float32)), "means is float32"),
        (lambda h, a: a["covariances"].__setitem__((0, 0, 1), np.nan), "covariances holds NaN"),
        (lambda h, a: a["labels"].__setitem__(3, 2), "labels are not all"),
        (lambda h, a: a["parts"].__setitem__(3, -1), "parts are not all"),
        (lambda h, a: a["weights"].__setitem__((0, 0), 7.0), "not the shard that the store was made with"),
    ],
)
def test_a_shard_that_is_whole_but_another_is_refused(copied, change, words):
    rewritten(copied / "shard-00000.npz", change)
    with pytest.raises(FileFormatError, match=words) as caught:
        open_store(copied).load()
    assert str(caught.value).startswith(str(copied / "shard-00000.npz"))


def test_shards_that_have_changed_places_are_refused(copied):
    first, second = copied / "shard-00000.npz", copied / "shard-00001.npz"
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two)
    second.write_bytes(one)
    with pytest.raises(FileFormatError, match="another store"):
        open_store(copied).load()


def test_parts_that_do_not_add_up_are_refused(copied):
    def swap(content):
        train, valid, test = content["collection"]["counts"]
        content["collection"]["counts"] = [test, train, valid]

    changed(copied, swap)
    with pytest.raises(FileFormatError, match="objects of a part"):
        open_store(copied).load()


@pytest.mark.parametrize(("number", "error"), [(np.nan, NonFiniteError), (-1.0, NotPositiveDefinite)])
def test_an_invalid_mixture_is_not_written(tmp_path, number, error):
    whole, store = make_store(tmp_path, count=10)
    before = contents(tmp_path)
    whole.mixtures.covariances[4, 1, 0, 0] = number
    with pytest.raises(error):
        write_shard(tmp_path, store.manifest, 0, whole)
    assert contents(tmp_path) == before
