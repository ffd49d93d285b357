"""A store is the same whether its making was disturbed or not, and nobody else's folder is touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from small_collections import contents, pictures, scatters

import gmengine
from gmengine.data import build, open_store
from gmengine.errors import ArgumentError, DataError, DTypeError
from gmengine.fitting import Clouds, fit, fit_images

build_module = import_module("gmengine.data.build")


class Stopped(BaseException):
    """Stands for Ctrl-C."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed") / "store"
    build(pictures(), 3, folder, shard_objects=64)
    return folder


def test_a_store_holds_the_fits_of_blocks_with_their_own_random_numbers(undisturbed):
    whole, found = pictures(), open_store(undisturbed).load()
    order = np.concatenate([np.flatnonzero(whole.parts == part) for part in range(3)])
    rng = np.random.default_rng([0, 2])
    block = fit_images(whole.objects[128:192], 3, rng=rng, dtype="float32")
    for got, want in zip(found[0].mixtures.arrays, block.arrays, strict=True):
        stored = np.concatenate([p.mixtures.arrays[got.ndim - 3][:, 0] for p in found])[np.argsort(order)]
        np.testing.assert_array_equal(stored[128:192], want)
    labels = np.concatenate([part.labels for part in found])[np.argsort(order)]
    np.testing.assert_array_equal(labels, whole.labels)
    assert [len(part) for part in found] == np.bincount(whole.parts).tolist()
    assert (found[1].name, found[1].source, found[1].licence) == ("blobs", "drawn at random", "CC0")
    assert found[2].class_names == ("a", "b", "ç")


def test_clouds_are_fitted_as_densities_in_any_dtype(tmp_path):
    collection = scatters()
    store = build(collection, 2, tmp_path / "s", seed=3, dtype="float64")
    points = Clouds(collection.objects.points.astype(np.float64), collection.objects.offsets)
    want = fit(points[:64], 2, rng=np.random.default_rng([3, 0]))
    stored = store.shard(0).mixtures
    np.testing.assert_array_equal(stored.weights[:64], want.weights)
    np.testing.assert_array_equal(stored.covariances[:64], want.covariances)
    assert stored.dtype == np.float64
    assert store.manifest.fit["method"] == "kmeans+em"


def test_options_of_the_fit_are_used_and_written_down(tmp_path):
    store = build(pictures(10), 2, tmp_path / "s", method="random+em", steps=2, tol=0.0)
    want = fit_images(
        pictures(10).objects, 2, method="random+em", steps=2, tol=0.0, rng=np.random.default_rng([0, 0])
    )
    np.testing.assert_array_equal(store.shard(0).mixtures.means, want.means.astype(np.float32))
    assert store.manifest.fit == {
        "components": 2,
        "method": "random+em",
        "steps": 2,
        "tol": 0.0,
        "seed": 0,
        "revision": 1,
    }


def test_shards_of_another_size_and_threads_hold_the_same_bits(undisturbed, tmp_path):
    other = build(pictures(), 3, tmp_path / "s", shard_objects=128, threads=1)
    for one, two in zip(open_store(undisturbed).load(), other.load(), strict=True):
        for a, b in zip((*one.mixtures.arrays, one.labels), (*two.mixtures.arrays, two.labels), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("objects", [1, 64, 130, 200])
def test_stopped_after_any_block_it_goes_on_with_the_rest(undisturbed, tmp_path, objects):
    def stop(done, total, rate):
        if done >= objects:
            raise Stopped

    with pytest.raises(Stopped):
        build(pictures(), 3, tmp_path / "s", shard_objects=64, progress=stop)
    seen = []
    build(pictures(), 3, tmp_path / "s", shard_objects=64, progress=lambda *told: seen.append(told))
    assert contents(tmp_path / "s") == contents(undisturbed)
    assert seen[0][0] == max(64, (objects - 1) // 64 * 64 + min(64, 200 - (objects - 1) // 64 * 64))
    assert seen[-1][:2] == (200, 200)
    assert all(rate > 0 for _, _, rate in seen)


KILLER = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from small_collections import pictures
from gmengine.data import build
calls = []
build(pictures(10), 3, {folder!r} + "-first")  # compiles kernels, whose cache renames files as well
def dying(*arguments, real=os.{function}):
    calls.append(1)
    if len(calls) == {call}:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments)
os.{function} = dying
build(pictures(), 3, {folder!r}, shard_objects=64)
"""


@pytest.mark.parametrize(
    ("function", "call"), [("replace", 1), ("replace", 3), ("fsync", 5), ("replace", 6)], ids=str
)
def test_kill_9_while_a_file_is_written_loses_no_finished_shard(undisturbed, tmp_path, function, call):
    folder = tmp_path / "s"
    code = KILLER.format(tests=str(Path(__file__).parent), function=function, call=call, folder=str(folder))
    packages = os.pathsep.join([str(Path(gmengine.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=os.environ | {"PYTHONPATH": packages}, check=False
    )
    assert done.returncode == -signal.SIGKILL
    finished = {name: data for name, data in contents(folder).items() if name != "store.json"}
    assert finished.items() <= contents(undisturbed).items()
    build(pictures(), 3, folder, shard_objects=64)
    assert contents(folder) == contents(undisturbed)


def test_left_over_temporary_files_go_once_they_are_old(undisturbed, tmp_path):
    build(pictures(10), 3, tmp_path)
    old, new, other = (
        tmp_path / f".{name}.0123456789abcdef.tmp" for name in ("shard-00000.npz", "store.json", "mine")
    )
    for path in (old, new, other):
        path.write_bytes(b"half")
    for path in (old, other):
        os.utime(path, (0, 0))
    build(pictures(10), 3, tmp_path)
    assert [path.exists() for path in (old, new, other)] == [False, True, True]


def test_a_finished_store_is_only_checked(undisturbed, monkeypatch):
    before = {p: p.stat().st_mtime_ns for p in undisturbed.iterdir()}
    monkeypatch.setattr(build_module, "fit_images", lambda *a, **k: pytest.fail("fitted again"))
    store = build(
        pictures(), 3, undisturbed, shard_objects=64, progress=lambda *a: pytest.fail("no progress")
    )
    assert len(store) == 200
    assert {p: p.stat().st_mtime_ns for p in undisturbed.iterdir()} == before


@pytest.mark.parametrize("finished", [True, False])
def test_a_damaged_shard_is_made_anew(undisturbed, tmp_path, caplog, finished):
    for name, data in contents(undisturbed).items():
        (tmp_path / name).write_bytes(data)
    if not finished:
        text = (undisturbed / "store.json").read_text()
        (tmp_path / "store.json").write_text(text[: text.index('"shards"')] + '"shards": null\n}\n')
    (tmp_path / "shard-00001.npz").write_bytes(contents(undisturbed)["shard-00001.npz"][:-7])
    (tmp_path / "shard-00002.npz").unlink()
    build(pictures(), 3, tmp_path, shard_objects=64)
    assert contents(tmp_path) == contents(undisturbed)
    assert "shard-00001.npz" in caplog.text


@pytest.mark.parametrize(
    ("collection", "components", "options", "words"),
    [
        (pictures(), 4, {}, "components 3, not 4"),
        (pictures(), 3, {"seed": 1}, "seed 0, not 1"),
        (pictures(), 3, {"steps": 2}, "steps 1, not 2"),
        (pictures(), 3, {"method": "kmeans"}, "method 'kmeans.em', not 'kmeans'"),
        (pictures(), 3, {"dtype": "float64"}, "dtype 'float32', not 'float64'"),
        (pictures(), 3, {"shard_objects": 128}, "shard_objects 64, not 128"),
        (pictures(seed=1), 3, {}, r"data 'blobs \(.*\)', not 'blobs"),
        (pictures(name="spots"), 3, {}, "not 'spots"),
    ],
)
def test_a_store_of_other_options_or_data_is_refused_and_kept(
    undisturbed, collection, components, options, words
):
    before = contents(undisturbed)
    with pytest.raises(ArgumentError, match=words):
        build(collection, components, undisturbed, **{"shard_objects": 64, **options})
    assert contents(undisturbed) == before


def test_a_folder_with_other_files_is_refused_and_kept(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ArgumentError, match="holds other files"):
        build(pictures(10), 2, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(OSError, match=r"thesis\.tex"):
        build(pictures(10), 2, tmp_path / "thesis.tex")


@pytest.mark.parametrize(
    ("components", "options", "error", "words"),
    [
        (0, {}, ArgumentError, "components"),
        (2.0, {}, ArgumentError, "components"),
        (10**20, {}, ArgumentError, "at most 2147483647 components"),
        (2, {"seed": -1}, ArgumentError, "seed"),
        (2, {"method": "magic"}, ArgumentError, "'magic'"),
        (2, {"steps": -1}, ArgumentError, "steps"),
        (2, {"method": "kmeans", "steps": 3}, ArgumentError, "no option 'steps'"),
        (2, {"dtype": "float16"}, DTypeError, "float16"),
        (2, {"shard_objects": 100}, ArgumentError, "multiple of 64"),
        (2, {"threads": 0}, ArgumentError, "threads"),
    ],
)
def test_a_wrong_option_leaves_no_folder_behind(tmp_path, components, options, error, words):
    with pytest.raises(error, match=words):
        build(pictures(10), components, tmp_path / "s", **options)
    assert not (tmp_path / "s").exists()


def test_an_empty_collection_is_refused(tmp_path):
    with pytest.raises(DataError, match="empty"):
        build(pictures(10)[:0], 2, tmp_path / "s")


@pytest.mark.parametrize("call", [1, 2, 4])
def test_a_full_disk_is_named_and_leaves_whole_files_only(undisturbed, tmp_path, monkeypatch, call):
    synchronise, calls = os.fsync, []

    def filling(descriptor):
        calls.append(os.path.isfile(f"/proc/self/fd/{descriptor}"))
        if sum(calls) == call:
            raise OSError(28, "No space left on device")
        synchronise(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", filling)
        with pytest.raises(OSError, match="No space left on device") as caught:
            build(pictures(), 3, tmp_path / "s", shard_objects=64)
    assert str(tmp_path / "s") in caught.value.filename
    assert not list((tmp_path / "s").glob(".*"))
    build(pictures(), 3, tmp_path / "s", shard_objects=64)
    assert contents(tmp_path / "s") == contents(undisturbed)
