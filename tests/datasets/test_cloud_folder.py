"""Folders of clouds and meshes of one's own."""

import gzip
import os

import numpy as np
import pytest
from mesh_bytes import OBJ, OFF, SQUARE, XYZ

from gmengine.data import _cloud_files
from gmengine.data._class_folders import listed_files
from gmengine.data.cloud_folder import ENTRY, cloud_folder
from gmengine.data.formats.mesh_files import unit_ball
from gmengine.errors import ArgumentError, DataError, FileFormatError


def put(folder, *names, data=OFF):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def numbered(folder, name, count, **options):
    put(folder, *(name.format(index) for index in range(count)), **options)


def counts(collection):
    """Objects per class and part."""
    table = np.zeros((len(collection.class_names), 3), int)
    np.add.at(table, (collection.labels, collection.parts), 1)
    return table.tolist()


def test_folders_of_classes_are_split_class_by_class_and_always_alike(tmp_path):
    numbered(tmp_path, "sofa/{}.off", 20)
    numbered(tmp_path, "bed/{}.xyz", 10, data=XYZ)
    put(
        tmp_path,
        "README.txt",
        ".hidden/x.off",
        "bed/.x.off",
        "bed/notes.md",
        "__MACOSX/bed/0.xyz",
        data=b"no cloud",
    )
    found = cloud_folder(tmp_path, points=16)
    assert found.class_names == ("bed", "sofa")
    assert counts(found) == [[7, 1, 2], [14, 2, 4]]
    assert found.objects.sizes.tolist() == [4] * 10 + [16] * 20
    assert found.objects.points.dtype == np.float32
    assert (found.name, found.licence, found.dim) == ("clouds", "", 3)
    again = cloud_folder(tmp_path, points=16)
    assert again.checksum() == found.checksum()


@pytest.mark.parametrize("name", ["{part}/{label}/{index}.off", "{label}/{part}/{index}.off"])
@pytest.mark.parametrize("valid", ["valid", "val", "validation"])
def test_folders_of_parts_give_the_split(tmp_path, name, valid):
    for part, count in (("train", 3), (valid, 2), ("test", 1)):
        for label in ("a", "b"):
            for index in range(count):
                put(tmp_path, name.format(part=part, label=label, index=index))
    found = cloud_folder(tmp_path, points=4)
    assert found.class_names == ("a", "b")
    assert counts(found) == [[3, 2, 1], [3, 2, 1]]


@pytest.mark.parametrize("name", ["{part}/{label}/{index}.off", "{label}/{part}/{index}.off"])
def test_without_a_validation_part_a_tenth_of_each_training_class_becomes_it(tmp_path, name):
    for part, count in (("train", 20), ("test", 3)):
        for index in range(count):
            put(tmp_path, name.format(part=part, label="a", index=index))
            put(tmp_path, name.format(part=part, label="b", index=index))
    assert counts(cloud_folder(tmp_path, points=4)) == [[18, 2, 3], [18, 2, 3]]


def test_a_flat_folder_is_one_class_and_deeper_folders_belong_to_theirs(tmp_path):
    numbered(tmp_path / "flat", "{}.obj.gz", 10, data=gzip.compress(OBJ))
    flat = cloud_folder(tmp_path / "flat", points=8)
    assert flat.class_names == ("cloud",)
    assert counts(flat) == [[7, 1, 2]]
    put(tmp_path / "deep", "a/0.off", "a/more/1.off", "a/more/yet/2.off", "b/0.off")
    assert counts(cloud_folder(tmp_path / "deep", points=8))[0] == [2, 0, 1]


def test_split_folders_of_one_class_without_class_folders_are_read(tmp_path):
    put(tmp_path, "train/0.off", "train/1.off", "valid/0.off", "test/0.off")
    assert counts(cloud_folder(tmp_path, points=4)) == [[2, 1, 1]]


def test_more_files_change_no_other_cloud_and_the_seed_changes_all(tmp_path):
    put(tmp_path, "a/1.off", "a/3.off", "b/1.off")
    first = cloud_folder(tmp_path, points=8, seed=1)
    put(tmp_path, "a/0.off", "a/2.off", "aa/1.off")
    more = cloud_folder(tmp_path, points=8, seed=1)  # a/0 a/1 a/2 a/3 aa/1 b/1
    for before, after in ((0, 1), (1, 3), (2, 5)):
        np.testing.assert_array_equal(first.objects.one(before), more.objects.one(after))
    every = [tuple(more.objects.one(index).ravel()) for index in range(6)]
    assert len(set(every)) == 6  # the same square six times, each with points of its own
    other = cloud_folder(tmp_path, points=8, seed=2)
    assert (other.objects.points != more.objects.points).any(axis=1).all()


def test_worker_processes_change_no_bit_and_name_the_damaged_file(tmp_path):
    numbered(tmp_path, "a/{}.off", 20)
    numbered(tmp_path, "b/{}.xyz", 3, data=XYZ)
    alone, together = (cloud_folder(tmp_path, points=8, workers=workers) for workers in (1, 2))
    assert alone.checksum() == together.checksum()
    put(tmp_path, "a/7.off", data=OFF[:-3])
    with pytest.raises(FileFormatError, match=r"7\.off: face 0"):
        cloud_folder(tmp_path, points=8, workers=2)


def test_clouds_are_normalised_unless_told_otherwise(tmp_path):
    put(tmp_path, "a/0.xyz", data=XYZ)
    np.testing.assert_array_equal(
        cloud_folder(tmp_path, normalise=False).objects.points, SQUARE.astype(np.float32)
    )
    np.testing.assert_array_equal(cloud_folder(tmp_path).objects.points, unit_ball(SQUARE).astype(np.float32))


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ([], "no files here"),
        (["notes.md"], "no files here"),
        (["a/0.off", "b/notes.md"], "b: no files here"),
        (["a/train/0.off", "a/test/notes.md"], "test: no files here"),
        (["a/0.off", "1.off"], "1.off: a file beside folders of classes, such as 'a'"),
        (["train/a/0.off", "test/a/0.off", "other/a/0.off"], "beside train and test there is 'other'"),
        (["train/a/0.off", "valid/a/0.off"], "none is called test"),
        (["valid/a/0.off", "test/a/0.off"], "none is called train"),
        (["train/a/0.off", "test/a/0.off", "test/b/0.off"], "nothing of the class 'b' to train on"),
        (["a/train/0.off", "a/test/0.off", "b/0.off"], "0.off: neither in train nor in test"),
    ],
)
def test_an_arrangement_that_means_nothing_is_an_error_that_says_where(tmp_path, names, reason):
    put(tmp_path, *names)
    with pytest.raises(DataError, match=reason):
        cloud_folder(tmp_path)


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.off", OFF.replace(b"4 1 0", b"2000000000 2000000000 0"), "cannot be in"),
        ("a.xyz", b"", "no points"),
        ("a.csv", b"1,2,nan\n", "point 0 is not a place"),
        ("a.obj.gz", gzip.compress(OBJ, mtime=0)[:-9], "truncated"),
        ("a.npy", b"\x93NUMPY", "not a .npy file"),
        (
            "a.ply",
            b"ply\nformat ascii 1.0\nelement vertex 2000000000\nproperty float x\nend_header\n",
            "vertex",
        ),
        (
            "a.off.gz",
            gzip.compress(b"OFF 3 1 0\n" + b"0 0 0\n" * 3 + b"3 0 1 2", mtime=0),
            "no triangle has an area",
        ),
    ],
)
def test_a_damaged_file_is_an_error_that_names_it(tmp_path, name, data, reason):
    put(tmp_path, "class/0.off")
    put(tmp_path, f"class/{name}", data=data)
    with pytest.raises(FileFormatError, match=f"{name}: .*{reason}"):
        cloud_folder(tmp_path)


@pytest.mark.parametrize(
    "option", [{"points": 0}, {"points": True}, {"points": 8.0}, {"seed": -1}, {"seed": "1"}, {"workers": 0}]
)
def test_an_option_out_of_range_of_a_cloud_folder_is_named(tmp_path, option):
    put(tmp_path, "0.off")
    with pytest.raises(ArgumentError, match=next(iter(option))):
        cloud_folder(tmp_path, **option)


def test_a_folder_of_clouds_is_looked_for_where_it_was_named(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="clouds:/folder"):
        ENTRY.locate(tmp_path / "missing")
    monkeypatch.setenv("GMENGINE_DATA_DIR", str(tmp_path))
    with pytest.raises(DataError, match="clouds:/folder"):
        ENTRY.read(None)
    put(tmp_path, "clouds/0.off")
    assert ENTRY.locate(None) == tmp_path / "clouds"
    assert len(ENTRY.read(None, **{name: default for name, (default, _) in ENTRY.options.items()})) == 1


def test_links_among_deeper_folders_do_not_lead_in_circles(tmp_path):
    put(tmp_path, "a/0.off")
    os.symlink(tmp_path / "a", tmp_path / "a" / "again")
    assert len(cloud_folder(tmp_path, points=4)) == 1


def test_whether_to_normalise_is_said_by_a_boolean(tmp_path):
    put(tmp_path, "a.off")
    with pytest.raises(ArgumentError, match="expected normalise to be True or False, got 'False'"):
        cloud_folder(tmp_path, normalise="False")


@pytest.fixture
def deep(tmp_path):
    """A folder whose content is deleted link by link, because pytest would do so by recursion."""
    yield tmp_path
    top = tmp_path / "a" / "d"
    while (top / "d").is_dir():
        for file in top.glob("*.off"):
            file.unlink()
        (top / "d").rename(tmp_path / "rest")
        top.rmdir()
        (tmp_path / "rest").rename(top)


def test_folders_a_thousand_deep_are_walked_through(deep):
    tmp_path = deep
    put(tmp_path, "a/0.off", "a/d/1.off", "a/z.off")
    holder = os.open(tmp_path / "a" / "d", os.O_RDONLY)
    for _ in range(1000):
        os.mkdir("d", dir_fd=holder)
        inner = os.open("d", os.O_RDONLY, dir_fd=holder)
        os.close(holder)
        holder = inner
    with open(os.open("2.off", os.O_WRONLY | os.O_CREAT, dir_fd=holder), "wb") as handle:
        handle.write(OFF)
    os.close(holder)
    names = [file.name for file in listed_files(tmp_path, lambda path: path.suffix == ".off", "cloud")]
    assert [name.split("/")[-1] for name in names] == ["0.off", "1.off", "2.off", "z.off"]
    assert names[2].count("/") == 1002


def test_where_no_other_process_can_be_started_files_are_read_by_one(tmp_path, monkeypatch, caplog):
    numbered(tmp_path, "{}.off", 3)
    alone = cloud_folder(tmp_path, points=4)

    def broken(*_):
        raise _cloud_files.BrokenProcessPool

    monkeypatch.setattr(_cloud_files, "_by_processes", broken)
    assert cloud_folder(tmp_path, points=4, workers=2).checksum() == alone.checksum()
    assert "__main__" in caplog.text
