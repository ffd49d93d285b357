"""The embedded digits: the very images of scikit-learn, fitted, split and cached."""

import logging
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

import gmengine
from gmengine.data import DATASETS, cache_folder, digits, digits_images, load
from gmengine.errors import ArgumentError, DataError, DTypeError
from gmengine.fitting import fit_images


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GMENGINE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def all_arrays(parts):
    return [a for part in parts for a in (*part.mixtures.arrays, part.labels)]


def assert_same(one, other):
    for got, want in zip(all_arrays(one), all_arrays(other), strict=True):
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)


def test_the_images_are_those_of_scikit_learn():
    images, labels = digits_images()
    original = load_digits()
    np.testing.assert_array_equal(images, original.images / 16)
    np.testing.assert_array_equal(labels, original.target)
    assert (images.dtype, labels.dtype) == (np.float64, np.int64)
    folder = Path(gmengine.__file__).parent / "data"
    assert (folder / "digits.npz").stat().st_size < 60_000
    assert "CC BY 4.0" in (folder / "DIGITS_LICENSE.txt").read_text()


def test_the_split_is_70_10_20_class_by_class_and_does_not_depend_on_the_seed():
    parts = digits(4, seed=0)
    assert [len(part) for part in parts] == [1258, 180, 359]
    _, labels = digits_images()
    share = np.bincount(labels) / len(labels)
    for part in parts:
        assert part.mixtures.batch == (len(part), 1)
        np.testing.assert_allclose(np.bincount(part.labels) / len(part), share, atol=0.01)
        assert part.class_names == tuple("0123456789")
        assert part.licence == "CC BY 4.0"
    for part, other in zip(parts, digits(4, seed=1), strict=True):
        np.testing.assert_array_equal(part.labels, other.labels)
        assert not np.array_equal(part.mixtures.means, other.mixtures.means)


def test_every_image_is_in_one_part_with_its_ink():
    images, labels = digits_images()
    found = np.concatenate(
        [
            np.stack([p.labels, p.mixtures.weights.sum(axis=(1, 2))], axis=1)
            for p in digits(5, dtype="float64")
        ]
    )
    want = np.stack([labels, images.sum(axis=(1, 2))], axis=1)
    np.testing.assert_allclose(
        found[np.lexsort(np.round(found, 9).T)], want[np.lexsort(np.round(want, 9).T)], rtol=1e-12
    )


def test_the_fit_is_that_of_fit_images_with_the_seed():
    images, labels = digits_images()
    fitted = fit_images(images, 6, rng=3)
    train = digits(6, seed=3, dtype="float64", cache=False)[0]
    first = int(np.flatnonzero((fitted.means[:, None] == train.mixtures.means[0, 0]).all(axis=(1, 2, 3)))[0])
    np.testing.assert_array_equal(fitted.covariances[first], train.mixtures.covariances[0, 0])
    assert labels[first] == train.labels[0]


def test_fits_have_the_numbers_that_cache_files_of_this_method_hold():
    # If this fails, the fit gives other mixtures than before: raise _METHOD in digits.py with the figures.
    train, _, _ = digits(8, dtype="float64", cache=False)
    w, mu, cov = (a[:, 0] for a in train.mixtures.arrays)
    figures = [(w**2).sum(), (w[..., None] * mu**2).sum(), (w[..., None, None] ** 2 * cov).sum()]
    np.testing.assert_allclose(figures, [68025.896148, 766167.668966, 60402.898639], rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_cache_gives_the_same_bits_and_saves_the_fit(cache, dtype, monkeypatch):
    fresh = digits(4, dtype=dtype)
    assert len(list(cache.iterdir())) == 1

    def never(*_, **__):
        pytest.fail("fitted again")

    monkeypatch.setattr(import_module("gmengine.data.digits"), "fit_images", never)
    assert_same(digits(4, dtype=dtype), fresh)
    assert fresh[0].mixtures.dtype == dtype


def test_other_components_and_seeds_are_cached_apart(cache):
    digits(3)
    digits(4)
    digits(3, seed=1)
    assert len(list(cache.iterdir())) == 3


@pytest.mark.parametrize("damage", [b"", b"not a zip", None])
def test_a_damaged_cache_file_is_fitted_again_and_replaced(cache, damage, caplog):
    fresh = digits(3)
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    with caplog.at_level(logging.WARNING, logger="gmengine"):
        assert_same(digits(3), fresh)
    assert "fitted again" in caplog.text
    assert file.read_bytes() == whole


def test_a_cache_file_of_other_content_is_fitted_again(cache, caplog):
    fresh = digits(3)
    (file,) = cache.iterdir()
    digits(4)
    (other,) = set(cache.iterdir()) - {file}
    file.write_bytes(other.read_bytes())
    assert_same(digits(3), fresh)
    assert "not what its name says" in caplog.text


def test_a_folder_that_cannot_be_written_costs_a_warning_only(tmp_path, monkeypatch, caplog):
    fresh = digits(3, cache=False)
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("GMENGINE_CACHE_DIR", str(tmp_path / "file" / "below"))
    assert_same(digits(3), fresh)
    assert "not cached" in caplog.text


def test_without_the_cache_no_file_is_written(cache):
    digits(3, cache=False)
    assert not cache.exists()


def test_the_folder_follows_the_environment(tmp_path, monkeypatch):
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("GMENGINE_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "gmengine"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert cache_folder() == tmp_path / ".cache" / "gmengine"


def test_a_user_without_a_home_gets_the_digits(monkeypatch, caplog):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("GMENGINE_CACHE_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert cache_folder() is None
    assert len(digits(3)[0]) == 1258
    assert "not cached" in caplog.text


def test_load_knows_the_data_sets_by_name():
    assert_same(load("digits", components=3), digits(3))
    assert "digits" in DATASETS
    with pytest.raises(DataError, match="unknown data set 'letters'; known are digits"):
        load("letters")


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"components": 0}, ArgumentError, "components"),
        ({"components": 2.0}, ArgumentError, "components"),
        ({"seed": -1}, ArgumentError, "seed"),
        ({"seed": None}, ArgumentError, "seed"),
        ({"dtype": "int32"}, DTypeError, "int32"),
    ],
)
def test_wrong_arguments_are_named(options, error, text):
    with pytest.raises(error, match=text):
        digits(**options)
