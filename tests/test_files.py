"""Files are whole or absent, survive any damage with one kind of error, and never hold pickles."""

import errno
import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gmengine.errors import ArgumentError, FileFormatError
from gmengine.files import atomic_write, read_npz, write_npz

KIND = "gmengine.Test"
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
numbers = hnp.arrays(
    st.sampled_from([np.bool_, np.uint8, np.int64, np.float32, np.float64, np.complex128, ">f8"]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


@given(st.dictionaries(st.text(), json_values, max_size=3), st.lists(numbers, max_size=3), st.booleans())
def test_what_was_written_is_read(folder, header, arrays, compressed):
    named = {f"layer{i}.weights": a for i, a in enumerate(arrays)}
    write_npz(folder / "round", KIND, 3, header, named, compressed=compressed)
    found_header, found = read_npz(folder / "round", KIND, 3)
    assert found_header == header
    assert list(found) == list(named)
    for name, array in named.items():
        assert found[name].dtype == array.dtype.newbyteorder("=")
        assert found[name].shape == array.shape
        assert found[name].flags.writeable
        np.testing.assert_array_equal(found[name], array)


def test_memory_order_views_and_scalars_survive(folder):
    base = np.arange(24.0).reshape(4, 6)
    arrays = {
        "fortran": np.asfortranarray(base),
        "view": base[::-2, 1::2],
        "scalar": np.float32(2.5),
        "int": 7,
    }
    write_npz(folder / "views", KIND, 1, {}, arrays)
    _, found = read_npz(folder / "views", KIND, 1)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)


def test_numpy_opens_the_file_alone_and_equal_content_gives_equal_bytes(folder):
    for name in ("one", "two"):
        write_npz(folder / name, KIND, 2, {"class_names": ["é", "b"], "nan": np.nan}, {"x": np.arange(3)})
    assert (folder / "one").read_bytes() == (folder / "two").read_bytes()
    with np.load(folder / "one", allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["x"], [0, 1, 2])
        content = json.loads(archive["header"].item())
    assert content["format"] == KIND
    assert content["version"] == 2
    assert content["header"]["class_names"] == ["é", "b"]


def sample(folder):
    path = folder / "sample.npz"
    if not path.exists():
        write_npz(path, KIND, 1, {"name": "sample"}, {"x": np.arange(5.0), "y": np.ones((2, 3), np.uint8)})
    return path.read_bytes()


def test_a_file_cut_off_at_any_byte_is_refused(folder):
    whole = sample(folder)
    path = folder / "cut.npz"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(FileFormatError, match=r"cut\.npz"):
            read_npz(path, KIND, 1)


@given(st.data())
def test_flipped_bytes_are_refused_or_change_nothing(folder, data):
    content = bytearray(sample(folder))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path = folder / "flipped.npz"
    path.write_bytes(content)
    try:
        header, arrays = read_npz(path, KIND, 1)
    except FileFormatError:
        return
    assert header == {"name": "sample"}
    np.testing.assert_array_equal(arrays["x"], np.arange(5.0))
    np.testing.assert_array_equal(arrays["y"], np.ones((2, 3)))


def test_every_single_flipped_byte_is_refused_or_changes_nothing(folder):
    whole, path = sample(folder), folder / "flip.npz"
    refused = 0
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
        try:
            _, arrays = read_npz(path, KIND, 1)
        except FileFormatError:
            refused += 1
        else:
            np.testing.assert_array_equal(arrays["x"], np.arange(5.0))
    assert refused > 0.7 * len(whole)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(folder, content):
    path = folder / "any.npz"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=r"any\.npz"):
        read_npz(path, KIND, 1)


def member(archive, name, array, **options):
    with archive.open(f"{name}.npy", "w") as handle:
        np.lib.format.write_array(handle, np.asanyarray(array), **options)


def crafted(path, header, **arrays):
    """A valid archive whose content is not what `write_npz` would have written."""
    with zipfile.ZipFile(path, "w") as archive:
        member(archive, "header", header)
        for name, array in arrays.items():
            member(archive, name, array, allow_pickle=True)


def header_text(**changes):
    content = {"format": KIND, "version": 1, "arrays": {"x": ["<f8", [2]]}, "header": {}}
    return json.dumps({**content, **changes})


@pytest.mark.parametrize(
    ("header", "arrays", "reason"),
    [
        (header_text(), {"x": np.array([{}, 1], dtype=object)}, "numbers, got the dtype object"),
        (header_text(), {"x": np.array(["a", "b"])}, "numbers, got the dtype"),
        (header_text(), {"x": np.zeros(3)}, r"expected <f8 \[2\]"),
        (header_text(), {"x": np.zeros(2, np.float32)}, "expected <f8"),
        (header_text(), {"x": np.zeros(2), "z": np.zeros(2)}, "z.npy"),
        (header_text(), {}, "expected the arrays"),
        (header_text(version=2), {"x": np.zeros(2)}, "expected version 1 of 'gmengine.Test', got 2"),
        (header_text(format="gmengine.Other"), {"x": np.zeros(2)}, "got 'gmengine.Other'"),
        (header_text(arrays=None), {"x": np.zeros(2)}, "parts"),
        (header_text(header=[]), {"x": np.zeros(2)}, "parts"),
        ("[1, 2]", {}, "got 'list'"),
        ("{", {}, "JSONDecodeError"),
        (3.0, {}, "not a string"),
    ],
)
def test_archives_of_another_making_are_refused_with_the_reason(folder, header, arrays, reason):
    path = folder / "crafted.npz"
    crafted(path, header, **arrays)
    with pytest.raises(FileFormatError, match=reason) as info:
        read_npz(path, KIND, 1)
    assert str(info.value).startswith(str(path))


class Trap:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was executed",))


@pytest.mark.parametrize("as_header", [False, True])
def test_pickles_are_never_executed(folder, as_header):
    path = folder / "pickled.npz"
    trap = np.array([Trap(), Trap()], dtype=object)
    with zipfile.ZipFile(path, "w") as archive:
        member(archive, "header", trap if as_header else np.array(header_text()), allow_pickle=True)
        member(archive, "x", trap, allow_pickle=True)
    with pytest.raises(FileFormatError):
        read_npz(path, KIND, 1)
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(FileFormatError, match=r"not an \.npz archive"):
        read_npz(path, KIND, 1)


def test_a_foreign_npz_is_refused_and_a_missing_file_is_missing(folder):
    np.savez(folder / "foreign.npz", x=np.zeros(2))
    with pytest.raises(FileFormatError, match="not a file of gmengine"):
        read_npz(folder / "foreign.npz", KIND, 1)
    with pytest.raises(FileNotFoundError):
        read_npz(folder / "nowhere.npz", KIND, 1)


@pytest.mark.parametrize(
    ("header", "arrays", "text"),
    [
        ({"x": np.float32(1)}, {}, "JSON"),
        ({}, {"x": np.array([None])}, "array 'x'.*object"),
        ({}, {"x": "text"}, "array 'x'"),
        ({}, {"header": np.zeros(1)}, "'header'"),
    ],
)
def test_what_cannot_be_read_again_is_not_written(folder, header, arrays, text):
    with pytest.raises(ArgumentError, match=text):
        write_npz(folder / "never", KIND, 1, header, arrays)
    assert not (folder / "never").exists()


def fail_with(error):
    def writer(handle):
        handle.write(b"half a")
        raise error

    return writer


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "disk full"), KeyboardInterrupt(), ValueError("bug")]
)
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "file"
    atomic_write(path, lambda handle: handle.write(b"old"))
    with pytest.raises(type(error)):
        atomic_write(path, fail_with(error))
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_that_fills_up_at_the_end_leaves_nothing(tmp_path, monkeypatch, call):
    def full(*_):
        raise OSError(errno.ENOSPC, "disk full")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="disk full"):
        write_npz(tmp_path / "file", KIND, 1, {}, {"x": np.zeros(3)})
    assert os.listdir(tmp_path) == []


def test_a_killed_writer_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    code = "import os, sys; import gmengine.files as f; f.atomic_write(sys.argv[1], lambda h: os._exit(9))"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    assert subprocess.run([sys.executable, "-c", code, path], env=environment, check=False).returncode == 9
    assert path.read_bytes() == b"old"


def test_a_new_file_has_the_permissions_of_any_new_file(tmp_path):
    (tmp_path / "plain").touch()
    atomic_write(tmp_path / "atomic", lambda handle: handle.write(b"x"))
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_link_is_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real" / "file")
    atomic_write(tmp_path / "link", lambda handle: handle.write(b"x"))
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "file").read_bytes() == b"x"


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        atomic_write(tmp_path / "no" / "file", lambda handle: None)
