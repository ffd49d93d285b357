"""Fashion-MNIST, MNIST and other folders of four IDX files."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from raw_files import idx_bytes, toy_images, write_idx_folder

from gmengine.data.collection import TEST, TRAIN, VALID
from gmengine.data.fashion_mnist import CLASS_NAMES, ENTRY, fashion_mnist
from gmengine.data.mnist import ENTRY as MNIST_ENTRY
from gmengine.data.mnist import mnist
from gmengine.errors import DataError, FileFormatError

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
READERS = pytest.mark.parametrize("read", [fashion_mnist, mnist])


@pytest.fixture(autouse=True)
def no_data_elsewhere(monkeypatch):
    monkeypatch.delenv("GMENGINE_DATA_DIR", raising=False)


def replace(folder, name, array):
    (folder / name).write_bytes(idx_bytes(array))


@READERS
def test_images_labels_and_the_official_test_part_come_out_of_the_four_files(tmp_path, read):
    raw = write_idx_folder(tmp_path, train=200, test=30)
    found = read(tmp_path)
    assert found.objects.dtype == np.float32
    images = np.concatenate([raw["train-images-idx3-ubyte"], raw["t10k-images-idx3-ubyte"]])
    np.testing.assert_array_equal(found.objects, images / np.float32(255))
    assert (found.objects.min(), found.objects.max()) == (0, 1)
    labels = np.concatenate([raw["train-labels-idx1-ubyte"], raw["t10k-labels-idx1-ubyte"]])
    np.testing.assert_array_equal(found.labels, labels)
    np.testing.assert_array_equal(found.parts[200:], TEST)
    assert (found.parts[:200] != TEST).all()


@READERS
def test_a_tenth_of_each_class_of_the_training_files_is_for_validation(tmp_path, read):
    write_idx_folder(tmp_path, train=200, test=30)
    found = read(tmp_path)
    np.testing.assert_array_equal(np.bincount(found.labels[found.parts == VALID]), [2] * 10)
    np.testing.assert_array_equal(np.bincount(found.labels[found.parts == TRAIN]), [18] * 10)
    np.testing.assert_array_equal(read(tmp_path).parts, found.parts)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dotted", [False, True])
def test_both_spellings_plain_and_packed_are_the_same_data(tmp_path, packed, dotted):
    write_idx_folder(tmp_path / "usual")
    (tmp_path / "other").mkdir()
    for path in (tmp_path / "usual").iterdir():
        name = path.name.replace("-idx", ".idx") if dotted else path.name
        content = path.read_bytes()
        if packed:
            (tmp_path / "other" / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (tmp_path / "other" / name).write_bytes(content)
    assert mnist(tmp_path / "other").checksum() == mnist(tmp_path / "usual").checksum()


def test_classes_have_their_names_in_one_and_numbers_in_the_other(tmp_path):
    write_idx_folder(tmp_path / "kana", classes=3)
    assert fashion_mnist(tmp_path / "kana").class_names == CLASS_NAMES
    assert CLASS_NAMES[0] == "T-shirt/top"
    found = mnist(tmp_path / "kana")
    assert found.class_names == ("0", "1", "2")
    assert "'kana'" in found.source
    replace(tmp_path / "kana", "t10k-labels-idx1-ubyte", np.full(10, 11, np.uint8))
    assert len(mnist(tmp_path / "kana").class_names) == 12
    with pytest.raises(DataError, match="kana: label 11; fashion-mnist has the classes 0 to 9"):
        fashion_mnist(tmp_path / "kana")


@READERS
@pytest.mark.parametrize(
    ("name", "array", "reason"),
    [
        ("train-labels-idx1-ubyte", np.zeros(39, np.uint8), r"39 labels for images \(40, 4, 5\)"),
        ("t10k-labels-idx1-ubyte", np.zeros(0, np.uint8), "0 labels for images"),
        ("t10k-images-idx3-ubyte", toy_images(10, 0, side=5), "beside training images"),
        ("train-images-idx3-ubyte", np.zeros((40, 0, 5), np.uint8), "40 labels for images"),
        ("train-images-idx3-ubyte", np.zeros((40, 20), np.uint8), "expected bytes with 3 axes, got uint8"),
        ("t10k-labels-idx1-ubyte", np.zeros(10, np.int32), "expected bytes with 1 axes, got int32"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_files_that_do_not_fit_together_are_named(tmp_path, read, name, array, reason):
    write_idx_folder(tmp_path)
    replace(tmp_path, name, array)
    with pytest.raises(DataError, match=rf"{tmp_path}/t.*ubyte: .*{reason}"):
        read(tmp_path)


@READERS
def test_a_missing_and_a_damaged_file_are_named(tmp_path, read):
    write_idx_folder(tmp_path)
    path = tmp_path / "train-labels-idx1-ubyte"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(FileFormatError, match="train-labels-idx1-ubyte: truncated"):
        read(tmp_path)
    path.with_suffix(".gz").write_bytes(gzip.compress(whole)[:-1])
    path.unlink()
    with pytest.raises(FileFormatError, match=r"train-labels-idx1-ubyte\.gz: truncated"):
        read(tmp_path)
    path.with_suffix(".gz").unlink()
    with pytest.raises(DataError, match=rf"{tmp_path}: train-labels-idx1-ubyte .* is missing"):
        read(tmp_path)


def test_the_error_without_data_names_the_command_or_the_way_to_name_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("gmengine.data.fashion_mnist._USUAL", (str(tmp_path / "none"),))
    with pytest.raises(DataError, match=r"none\); install .* 'apt-get install dataset-fashion-mnist'"):
        fashion_mnist()
    for entry in (ENTRY, MNIST_ENTRY):
        with pytest.raises(DataError, match=f"{tmp_path}.*{entry.name}:/folder"):
            entry.locate(tmp_path)
    with pytest.raises(DataError, match=r"mnist: .*train-images-idx3-ubyte.*mnist:/folder"):
        mnist()


def test_the_data_folder_is_searched_but_one_set_is_not_taken_for_the_other(tmp_path, monkeypatch):
    monkeypatch.setattr("gmengine.data.fashion_mnist._USUAL", ())
    write_idx_folder(tmp_path / "mnist", train=20)
    write_idx_folder(tmp_path / "fashion-mnist", train=30)
    monkeypatch.setenv("GMENGINE_DATA_DIR", str(tmp_path))
    assert (len(mnist()), len(fashion_mnist())) == (30, 40)
    monkeypatch.setenv("GMENGINE_DATA_DIR", str(tmp_path / "mnist"))
    assert len(mnist()) == 30
    with pytest.raises(DataError, match="no data found"):
        fashion_mnist()
    assert len(fashion_mnist(tmp_path / "mnist")) == 30  # who says so gets it


@pytest.mark.parametrize("entry", [ENTRY, MNIST_ENTRY], ids=lambda entry: entry.name)
def test_the_entries_read_what_they_locate(tmp_path, entry):
    write_idx_folder(tmp_path)
    found = entry.read(entry.locate(tmp_path))
    assert (found.name, found.licence, len(found), found.dim) == (entry.name, entry.licence, 50, 2)
    assert entry.kind == "images"


@pytest.mark.skipif(not DEBIAN.exists(), reason="the Debian package dataset-fashion-mnist is not installed")
def test_the_debian_package_holds_the_official_set():
    found = fashion_mnist()
    assert found.objects.shape == (70_000, 28, 28)
    for part, per_class in ((TRAIN, 5_400), (VALID, 600), (TEST, 1_000)):
        np.testing.assert_array_equal(np.bincount(found.labels[found.parts == part]), [per_class] * 10)
    assert [CLASS_NAMES[label] for label in found.labels[:2]] == ["Ankle boot", "T-shirt/top"]
