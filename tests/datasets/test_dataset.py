"""The data set value: what fits together, what does not, and how it is indexed."""

from dataclasses import replace

import numpy as np
import pytest

from gmengine.errors import ArgumentError, DataError, DTypeError, ShapeError


@pytest.mark.parametrize(
    "index",
    [
        slice(2, 9, 3),
        np.array([5, 0, 5]),
        [3, 1],
        np.arange(12) % 2 == 0,
        [],
        np.array([-1], np.int8),
        slice(0, 0),
    ],
    ids=str,
)
def test_indexing_selects_mixtures_and_labels_alike(dataset, index):
    part = dataset[index]
    positions = np.arange(12)[np.asarray(index, int) if isinstance(index, list) else index]
    assert len(part) == len(positions)
    np.testing.assert_array_equal(part.labels, dataset.labels[positions])
    for got, want in zip(part.mixtures.arrays, dataset.mixtures.arrays, strict=True):
        np.testing.assert_array_equal(got, want[positions])
    assert (part.class_names, part.name, part.source) == (dataset.class_names, dataset.name, dataset.source)


@pytest.mark.parametrize("index", [3, np.zeros((2, 2), int), np.array([0.5]), (1, 2, None), "name"], ids=str)
def test_other_indices_are_refused(dataset, index):
    with pytest.raises((ArgumentError, TypeError), match=r"ds\[i : i \+ 1\]|integers"):
        dataset[index]


def test_labels_become_int64_and_names_a_tuple(dataset):
    other = replace(dataset, labels=dataset.labels.astype(np.uint8).tolist(), class_names=["a", "b", "c"])
    assert other.labels.dtype == np.int64
    assert other.class_names == ("a", "b", "c")
    assert repr(other).startswith("Dataset('letters', 12 objects, 3 classes, Mixture(batch=(12, 1)")


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"labels": np.zeros(11, int)}, ShapeError, r"\(12, 1\) and \(11,\)"),
        ({"labels": np.zeros((12, 1), int)}, ShapeError, r"\(12, 1\)"),
        ({"labels": np.zeros(12)}, DTypeError, "float64"),
        ({"labels": np.arange(12) // 4 - 1}, DataError, r"labels\[0\] is -1"),
        ({"labels": np.arange(12) // 3}, DataError, r"labels\[9\] is 3 with 3 classes"),
        ({"class_names": ("a", "b", "a")}, DataError, "distinct"),
        ({"class_names": (1, 2, 3)}, DataError, "distinct strings"),
    ],
)
def test_what_does_not_fit_is_named(dataset, changes, error, text):
    with pytest.raises(error, match=text):
        replace(dataset, **changes)


def test_mixtures_need_an_axis_of_objects_and_one_of_channels(dataset):
    with pytest.raises(ShapeError, match=r"\(n, channels\)"):
        replace(dataset, mixtures=dataset.mixtures[:, 0])
