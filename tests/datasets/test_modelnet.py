"""ModelNet10 and ModelNet40, in toy copies of both of their layouts."""

import numpy as np
import pytest
from mesh_bytes import OFF, SQUARE

from gmengine.data.collection import TEST, TRAIN, VALID
from gmengine.data.formats.mesh_files import unit_ball
from gmengine.data.modelnet import CLASSES_10, CLASSES_40, ENTRY_10, ENTRY_40, modelnet10, modelnet40
from gmengine.errors import ArgumentError, DataError, FileFormatError
from gmengine.training import RunConfig

JOINED = OFF.replace(b"OFF\n", b"OFF")
RESAMPLED = b"".join(b"%g,%g,%g,0,0,1\n" % tuple(point) for point in SQUARE)


def zip_layout(folder, classes, train=10, test=2):
    """``<class>/{train,test}/<class>_0001.off``, numbered through as in the original."""
    for name in classes:
        for index in range(train + test):
            part = folder / name / ("train" if index < train else "test")
            part.mkdir(parents=True, exist_ok=True)
            (part / f"{name}_{index + 1:04d}.off").write_bytes(JOINED if index % 2 else OFF)
    return folder


def resampled_layout(folder, classes, name, train=10, test=1):
    """The lists and text files of modelnet40_normal_resampled."""
    lists = {"train": [], "test": []}
    for class_name in classes:
        (folder / class_name).mkdir(parents=True)
        for index in range(train + test):
            model = f"{class_name}_{index + 1:04d}"
            (folder / class_name / f"{model}.txt").write_bytes(RESAMPLED)
            lists["train" if index < train else "test"].append(model)
    for part, models in lists.items():
        (folder / f"{name}_{part}.txt").write_text("\n".join(models) + "\n")
    return folder


@pytest.mark.parametrize(
    ("read", "classes", "entry"), [(modelnet10, CLASSES_10, ENTRY_10), (modelnet40, CLASSES_40, ENTRY_40)]
)
def test_the_unpacked_archive_of_modelnet_keeps_its_split(tmp_path, read, classes, entry):
    found = read(zip_layout(tmp_path, classes), points=4)
    assert found.class_names == classes
    assert list(classes) == sorted(classes)
    assert len(classes) == int(entry.name[-2:])
    for part, each in ((TRAIN, 9), (VALID, 1), (TEST, 2)):
        assert np.bincount(found.labels[found.parts == part]).tolist() == [each] * len(classes)
    assert found.objects.sizes.tolist() == [4] * len(found)
    assert found.name == entry.name
    assert found.source == entry.source
    assert found.licence == entry.licence


@pytest.mark.parametrize(
    ("read", "classes", "name"),
    [(modelnet10, CLASSES_10, "modelnet10"), (modelnet40, CLASSES_40, "modelnet40")],
)
def test_the_resampled_modelnet_is_read_by_its_lists(tmp_path, read, classes, name):
    found = read(resampled_layout(tmp_path, classes, name), normalise=False)
    assert found.class_names == classes
    for part, each in ((TRAIN, 9), (VALID, 1), (TEST, 1)):
        assert np.bincount(found.labels[found.parts == part]).tolist() == [each] * len(classes)
    np.testing.assert_array_equal(found.objects.one(0), SQUARE.astype(np.float32))
    scaled = read(tmp_path).objects.one(3)
    np.testing.assert_array_equal(scaled, unit_ball(SQUARE).astype(np.float32))


def test_modelnet10_is_read_from_the_lists_beside_those_of_modelnet40(tmp_path):
    resampled_layout(tmp_path, CLASSES_40, "modelnet40", train=2)
    for part, number in (("train", 1), ("test", 3)):
        names = [f"{name}_{number:04d}" for name in CLASSES_10]
        (tmp_path / f"modelnet10_{part}.txt").write_text("\r\n".join(names))
    assert len(modelnet10(tmp_path)) == 20
    assert len(modelnet40(tmp_path)) == 120


def test_modelnet_reads_the_same_points_whatever_the_workers_and_its_place(tmp_path):
    first = modelnet10(zip_layout(tmp_path / "a", CLASSES_10, 2, 1), points=8, seed=3)
    second = modelnet10(zip_layout(tmp_path / "b", CLASSES_10, 2, 1), points=8, seed=3, workers=2)
    assert first.checksum() == second.checksum()
    assert first.checksum() != modelnet10(tmp_path / "a", points=8, seed=4).checksum()


def test_a_copy_of_modelnet_that_lacks_or_has_too_much_is_refused(tmp_path):
    zip_layout(tmp_path, CLASSES_40, 1, 1)
    with pytest.raises(DataError, match="holds the class 'airplane', which modelnet10 does not have"):
        modelnet10(tmp_path)
    (tmp_path / "desk" / "test" / "desk_0002.off").unlink()
    with pytest.raises(DataError, match=r"desk/test: no \.off files"):
        modelnet40(tmp_path)


def test_lists_of_modelnet_are_not_trusted(tmp_path):
    resampled_layout(tmp_path, CLASSES_10, "modelnet10", train=1)
    path = tmp_path / "modelnet10_test.txt"
    for bad in ("../../etc/passwd", "/etc_0001", "bed", "bed_00011", "car_0001", "bed/bed_0001"):
        path.write_text(f"bed_0001\n{bad}\n")
        with pytest.raises(FileFormatError, match=r"modelnet10_test\.txt: .* is not the name of a model"):
            modelnet10(tmp_path)
    path.write_text("bed_0099\n")
    with pytest.raises(FileNotFoundError, match="bed_0099"):
        modelnet10(tmp_path)
    path.write_text("")
    with pytest.raises(DataError, match="names no models"):
        modelnet10(tmp_path)
    path.unlink()
    with pytest.raises(DataError, match=r"modelnet10_test\.txt is missing"):
        modelnet10(tmp_path)


def test_a_damaged_model_is_named(tmp_path):
    zip_layout(tmp_path, CLASSES_10, 1, 1)
    (tmp_path / "sofa" / "test" / "sofa_0002.off").write_bytes(OFF[:30])
    with pytest.raises(FileFormatError, match=r"sofa_0002\.off: truncated"):
        modelnet10(tmp_path)
    with pytest.raises(ArgumentError, match="points"):
        modelnet10(tmp_path, points=0)


@pytest.mark.parametrize(("entry", "title"), [(ENTRY_10, "ModelNet10"), (ENTRY_40, "ModelNet40")])
def test_modelnet_is_looked_for_in_the_usual_places(tmp_path, monkeypatch, entry, title):
    monkeypatch.delenv("GMENGINE_DATA_DIR", raising=False)
    with pytest.raises(DataError, match=rf"download {title}\.zip from https://modelnet"):
        entry.locate(None)
    with pytest.raises(DataError, match=f"{entry.name}:/folder/{title}"):
        entry.read(tmp_path)
    monkeypatch.setenv("GMENGINE_DATA_DIR", str(tmp_path))
    resampled_layout(tmp_path / "modelnet40_normal_resampled", CLASSES_10, entry.name, train=1)
    assert entry.locate(None) == tmp_path / "modelnet40_normal_resampled"
    classes = {"modelnet10": CLASSES_10, "modelnet40": CLASSES_40}[entry.name]
    zip_layout(tmp_path / title, classes, 1, 1)
    assert entry.locate(None) == tmp_path / title
    assert len(entry.read(None, points=4)) == 2 * len(classes)


@pytest.mark.parametrize(("entry", "classes"), [(ENTRY_10, CLASSES_10), (ENTRY_40, CLASSES_40)])
def test_the_suggested_network_of_modelnet_has_its_classes(entry, classes):
    config = RunConfig(dataset=entry.name, **entry.training)
    assert config.layers.endswith(f"-> {len(classes)}")
