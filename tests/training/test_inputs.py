"""Files of mixtures and of images become what a network takes."""

from __future__ import annotations

import numpy as np
import pytest

from gmengine.data import digits, digits_images
from gmengine.errors import ArgumentError, FileFormatError, ShapeError
from gmengine.nn import network
from gmengine.testing import strategies as gms
from gmengine.training import read_mixtures

NET = network("1/6 -> 4/3 -> 3", dtype="float32")


def test_a_data_set_store_gives_its_mixtures(store, dots):
    found = read_mixtures(store, NET)
    assert found.batch == (60, 1)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found.means, dots.mixtures.means.astype(np.float32))


@pytest.mark.parametrize(("batch", "expected"), [((), (1, 1)), ((4,), (4, 1)), ((4, 2), (4, 2))])
def test_a_saved_mixture_gets_the_axes_it_lacks(tmp_path, batch, expected):
    mixture = gms.random_mixture(3, batch, 6)
    mixture.save(tmp_path / "m.npz")
    found = read_mixtures(tmp_path / "m.npz", network("1/6 -> 3", dtype="float64"))
    assert found.batch == expected
    np.testing.assert_array_equal(found.weights.ravel(), mixture.weights.ravel())


def test_images_are_fitted_as_the_digits_are(tmp_path):
    images, labels = digits_images()
    train, _, _ = digits(components=6, cache=False)
    np.save(tmp_path / "images.npy", images)
    found = read_mixtures(tmp_path / "images.npy", NET)
    assert found.batch == (len(labels), 1)
    everything = {row.tobytes() for row in found.means}
    assert all(row.tobytes() in everything for row in train.mixtures.means)


def test_one_image_is_a_batch_of_one(tmp_path):
    np.save(tmp_path / "one.npy", np.eye(8, dtype=np.uint8) * 200)
    assert read_mixtures(tmp_path / "one.npy", NET).batch == (1, 1)


@pytest.mark.parametrize("shape", [(8,), (2, 8, 8, 3), (0, 8, 8)])
def test_arrays_that_are_no_gray_images_are_refused(tmp_path, shape):
    np.save(tmp_path / "images.npy", np.zeros(shape))
    with pytest.raises(ShapeError, match=r"\(n, H, W\)"):
        read_mixtures(tmp_path / "images.npy", NET)


def test_damaged_files_are_refused_by_name(tmp_path, store):
    for name in ("a.npy", "a.npz"):
        (tmp_path / name).write_bytes(b"not an array")
        with pytest.raises(FileFormatError, match=name):
            read_mixtures(tmp_path / name, NET)
    (tmp_path / "half.npz").write_bytes(store.read_bytes()[:3000])
    with pytest.raises(FileFormatError, match=r"half\.npz"):
        read_mixtures(tmp_path / "half.npz", NET)


def test_pickled_objects_are_not_loaded(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(FileFormatError, match=r"objects\.npy"):
        read_mixtures(tmp_path / "objects.npy", NET)


def test_other_names_are_refused(tmp_path):
    with pytest.raises(ArgumentError, match=r"picture\.png"):
        read_mixtures(tmp_path / "picture.png", NET)


def test_a_mixture_of_three_batch_axes_is_refused(tmp_path):
    gms.random_mixture(3, (2, 2, 2), 6).save(tmp_path / "m.npz")
    with pytest.raises(ShapeError, match=r"\(2, 2, 2\)"):
        read_mixtures(tmp_path / "m.npz", NET)


def test_images_of_bytes_are_those_of_their_255ths(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (2, 5, 5)).astype(np.uint8)
    np.save(tmp_path / "bytes.npy", images)
    np.save(tmp_path / "floats.npy", images / np.float32(255))
    net = network("1/3 -> 2/2 -> 3")
    found, want = (read_mixtures(tmp_path / f"{name}.npy", net) for name in ("bytes", "floats"))
    for a, b in zip(found.arrays, want.arrays, strict=True):
        np.testing.assert_array_equal(a, b)
