"""Data sets come back from their files bit for bit, or not at all."""

import os
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gmengine.data import Dataset, load_dataset, save_dataset
from gmengine.errors import FileFormatError, NonFiniteError
from gmengine.files import read_npz, write_npz
from gmengine.testing.strategies import random_mixture


def assert_same(one, other):
    for got, want in zip(
        (*one.mixtures.arrays, one.labels), (*other.mixtures.arrays, other.labels), strict=True
    ):
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)
    for name in ("class_names", "name", "source", "licence"):
        assert getattr(one, name) == getattr(other, name)


@given(st.integers(0, 99), st.integers(0, 5), st.integers(1, 2), st.integers(1, 3), st.text(max_size=5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_data_set_comes_back_as_it_was(tmp_path, seed, count, channels, dim, text):
    for dtype in ("float32", "float64"):
        mixtures = random_mixture(seed, (count, channels), 2, dim).astype(dtype)
        original = Dataset(mixtures, np.zeros(count, int), (text,), text, text, text)
        save_dataset(tmp_path / "store.npz", original)
        assert_same(load_dataset(tmp_path / "store.npz"), original)


def test_a_file_cut_off_anywhere_is_refused(tmp_path, dataset):
    save_dataset(tmp_path / "whole.npz", dataset)
    whole = (tmp_path / "whole.npz").read_bytes()
    for length in range(0, len(whole), 7):
        (tmp_path / "cut.npz").write_bytes(whole[:length])
        with pytest.raises(FileFormatError, match=r"cut\.npz"):
            load_dataset(tmp_path / "cut.npz")


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_flipped_bytes_are_refused_or_change_nothing(tmp_path, dataset, data):
    save_dataset(tmp_path / "whole.npz", dataset)
    content = bytearray((tmp_path / "whole.npz").read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    (tmp_path / "flipped.npz").write_bytes(content)
    try:
        found = load_dataset(tmp_path / "flipped.npz")
    except FileFormatError:
        return
    assert_same(found, dataset)


def test_any_other_file_is_refused_and_a_missing_one_is_missing(tmp_path, dataset):
    (tmp_path / "text.npz").write_text("label,weight\n")
    with pytest.raises(FileFormatError, match=r"text\.npz"):
        load_dataset(tmp_path / "text.npz")
    dataset.mixtures.save(tmp_path / "mixture.npz")
    with pytest.raises(FileFormatError, match=r"'gmengine\.Dataset', got 'gmengine\.Mixture'"):
        load_dataset(tmp_path / "mixture.npz")
    with pytest.raises(FileNotFoundError):
        load_dataset(tmp_path / "nowhere.npz")


def rewritten(path, change):
    header, arrays = read_npz(path, "gmengine.Dataset", 1)
    change(header, arrays)
    write_npz(path, "gmengine.Dataset", 1, header, arrays)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda h, a: a.pop("labels"), "expected the arrays"),
        (lambda h, a: a.update(extra=np.zeros(1)), "expected the arrays"),
        (lambda h, a: h.pop("licence"), "licence"),
        (lambda h, a: h.update(class_names="abc"), "class_names"),
        (lambda h, a: h.update(class_names=["a"]), r"labels\[1\] is 1"),
        (lambda h, a: h.update(dim=3), "dim is 2, the header says 3"),
        (lambda h, a: h.update(objects=4), "objects is 12, the header says 4"),
        (lambda h, a: h.update(dtype="float16"), "dtype is 'float64'"),
        (lambda h, a: a["weights"].__setitem__((3, 0, 1), np.nan), r"component \[3, 0, 1\] is nan"),
        (lambda h, a: a["covariances"].__setitem__((2, 0, 0), -np.eye(2)), r"component \[2, 0, 0\]"),
        (lambda h, a: a.update(means=a["means"][..., :1]), "means"),
        (lambda h, a: a.update(labels=a["labels"] / 2), "integer labels"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(tmp_path, dataset, change, reason):
    path = tmp_path / "store.npz"
    save_dataset(path, dataset)
    rewritten(path, change)
    with pytest.raises(FileFormatError, match=reason) as info:
        load_dataset(path)
    assert str(info.value).startswith(str(path))


def test_what_could_not_be_read_is_not_written(tmp_path, dataset):
    with pytest.raises(NonFiniteError):
        save_dataset(tmp_path / "store.npz", replace(dataset, mixtures=dataset.mixtures * np.nan))
    assert os.listdir(tmp_path) == []
