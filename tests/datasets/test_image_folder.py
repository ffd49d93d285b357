"""A folder of pictures becomes a collection: arrangements, sizes, order and errors."""

import os
import sys

import numpy as np
import pytest
from PIL import Image

from gmengine.data.collection import TEST, TRAIN, VALID
from gmengine.data.formats.pictures import read_picture
from gmengine.data.image_folder import ENTRY, image_folder
from gmengine.errors import ArgumentError, DataError, FileFormatError


@pytest.fixture(autouse=True)
def no_data_elsewhere(monkeypatch):
    monkeypatch.delenv("GMENGINE_DATA_DIR", raising=False)


def write(path, value, shape=(3, 3)):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = np.full(shape, value, np.uint8)
    if path.suffix == ".npy":
        np.save(path, picture)
    else:
        Image.fromarray(picture).save(path)


def values(collection):
    """The intensity of every (constant) picture, as the byte it was."""
    return np.rint(collection.objects.max((1, 2)) * 255).astype(int).tolist()


def test_folders_of_classes_are_split_at_random_always_alike(tmp_path):
    for number in range(20):
        write(tmp_path / "dog" / f"{number:02}.png", number)
        write(tmp_path / "cat" / f"{number:02}.npy", 100 + number)
    found = image_folder(tmp_path)
    assert found.class_names == ("cat", "dog")
    np.testing.assert_array_equal(found.labels, [0] * 20 + [1] * 20)
    assert values(found) == [*range(100, 120), *range(20)]
    for label in range(2):
        np.testing.assert_array_equal(np.bincount(found.parts[found.labels == label]), [14, 2, 4])
    assert image_folder(tmp_path).checksum() == found.checksum()
    assert (found.name, found.dim, found.objects.dtype) == ("images", 2, np.float32)
    assert repr(tmp_path.name) in found.source


@pytest.mark.parametrize("valid", ["valid", "val", "validation"])
def test_folders_of_parts_give_the_split_of_pictures(tmp_path, valid):
    for part, value in (("train", 1), (valid, 2), ("test", 3)):
        write(tmp_path / part / "a" / "x.png", value)
        write(tmp_path / part / "b" / "x.png", value + 10)
    found = image_folder(tmp_path)
    assert found.class_names == ("a", "b")
    assert values(found) == [1, 2, 3, 11, 12, 13]
    np.testing.assert_array_equal(found.parts, [TRAIN, VALID, TEST] * 2)


def test_without_a_part_for_validation_a_tenth_of_each_class_of_the_training_part_is_taken(tmp_path):
    for label in "ab":
        for number in range(10):
            write(tmp_path / "train" / label / f"{number}.npy", number)
        write(tmp_path / "test" / label / "0.npy", 99)
    found = image_folder(tmp_path)
    for label in range(2):
        np.testing.assert_array_equal(np.bincount(found.parts[found.labels == label]), [9, 1, 1])
    assert (np.array(values(found))[found.parts == TEST] == 99).all()


def test_a_flat_folder_is_one_class(tmp_path):
    for number in range(10):
        write(tmp_path / f"{number}.png", number + 1)
    found = image_folder(tmp_path)
    assert found.class_names == ("image",)
    np.testing.assert_array_equal(np.bincount(found.parts), [7, 1, 2])


def test_order_is_that_of_the_bytes_of_names_and_other_files_are_passed_over(tmp_path):
    for value, name in enumerate(("B.png", "a.PNG", "b.npy", "sub/c.png", "ä.png"), 1):
        write(tmp_path / "class" / name, value)
    write(tmp_path / "class" / ".hidden.png", 77)
    write(tmp_path / ".hidden" / "x.png", 77)
    (tmp_path / "class" / "notes.txt").write_text("no picture")
    (tmp_path / "class" / "folder.png").mkdir()
    assert values(image_folder(tmp_path)) == [1, 2, 3, 4, 5]


def test_links_within_classes_do_not_lead_in_circles(tmp_path):
    write(tmp_path / "class" / "x.png", 1)
    (tmp_path / "class" / "again").symlink_to(tmp_path, target_is_directory=True)
    assert len(image_folder(tmp_path)) == 1


def test_large_pictures_are_reduced_small_ones_enlarged_and_all_lie_in_the_middle(tmp_path):
    write(tmp_path / "a.npy", 10, (100, 200))
    write(tmp_path / "b.npy", 20, (3, 1))
    write(tmp_path / "c.npy", 30, (8, 8))
    found = image_folder(tmp_path, size=8)
    assert found.objects.shape == (3, 8, 8)
    boxes = ([slice(2, 6), slice(0, 8)], [slice(0, 8), slice(2, 5)], [slice(0, 8), slice(0, 8)])
    for image, box, value in zip(found.objects, boxes, (10, 20, 30), strict=True):
        want = np.zeros((8, 8), np.float32)
        want[tuple(box)] = value / np.float32(255)
        np.testing.assert_array_equal(image, want)


def test_pictures_of_one_size_are_not_touched_unless_they_are_too_large(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (5, 7), np.uint8)
    for name in ("a", "b"):
        np.save(tmp_path / f"{name}.npy", picture)
    np.testing.assert_array_equal(image_folder(tmp_path).objects, [picture / np.float32(255)] * 2)
    assert image_folder(tmp_path, size=6).objects.shape == (2, 4, 6)


def test_drawings_on_white_are_inverted_on_demand(tmp_path):
    write(tmp_path / "small.npy", 255, (2, 2))
    write(tmp_path / "large.npy", 55, (4, 4))
    found = image_folder(tmp_path, invert=True)
    np.testing.assert_array_equal(found.objects[1], 0)
    np.testing.assert_array_equal(found.objects[0], read_picture(tmp_path / "large.npy", invert=True))
    assert values(found) == [200, 0]


@pytest.mark.parametrize("size", [0, -1, 4097, 8.0, True, "8"])
def test_sizes_that_are_none_are_refused(tmp_path, size):
    write(tmp_path / "a.png", 1)
    with pytest.raises(ArgumentError, match="size"):
        image_folder(tmp_path, size=size)


def test_empty_folders_and_empty_classes_are_named(tmp_path):
    with pytest.raises(DataError, match=str(tmp_path)):
        image_folder(tmp_path)
    write(tmp_path / "full" / "a.png", 1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=str(tmp_path / "empty")):
        image_folder(tmp_path)


def test_pictures_beside_folders_of_classes_are_named(tmp_path):
    write(tmp_path / "class" / "a.png", 1)
    write(tmp_path / "stray.png", 1)
    with pytest.raises(DataError, match=r"stray\.png"):
        image_folder(tmp_path)


def test_classes_that_are_tested_but_not_trained_are_named(tmp_path):
    write(tmp_path / "train" / "a" / "x.png", 1)
    write(tmp_path / "test" / "b" / "x.png", 1)
    with pytest.raises(DataError, match="'b'"):
        image_folder(tmp_path)


def test_a_damaged_picture_among_others_is_named(tmp_path):
    for name in ("a.png", "b.png", "c.png"):
        write(tmp_path / "class" / name, 1)
    whole = (tmp_path / "class" / "b.png").read_bytes()
    (tmp_path / "class" / "b.png").write_bytes(whole[:-12])
    with pytest.raises(FileFormatError, match=r"class/b\.png: not a picture, or damaged"):
        image_folder(tmp_path)


def test_names_that_are_no_text_are_refused(tmp_path):
    try:
        os.mkdir(os.fsencode(tmp_path) + b"/\xff")
    except OSError:
        return  # this file system has no such names
    (tmp_path / os.fsdecode(b"\xff") / "a.pgm").write_bytes(b"P5 1 1 1\n\1")
    with pytest.raises(DataError, match="not valid text"):
        image_folder(tmp_path)


def test_without_pillow_arrays_and_netpbm_files_are_read_and_others_name_the_command(tmp_path, monkeypatch):
    write(tmp_path / "a.npy", 1)
    write(tmp_path / "b.pgm", 2)
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert values(image_folder(tmp_path)) == [1, 2]
    (tmp_path / "c.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"c\.png: .*pip install 'gmengine\[images\]'"):
        image_folder(tmp_path)


def test_the_folder_is_named_or_called_images(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"images: no data found .*images:/folder"):
        image_folder()
    write(tmp_path / "images" / "a.png", 1)
    monkeypatch.setenv("GMENGINE_DATA_DIR", str(tmp_path))
    assert len(image_folder()) == 1
    for other in (tmp_path / "none", tmp_path / "images" / "a.png"):
        with pytest.raises(DataError, match=str(other)):
            ENTRY.locate(other)


def test_the_entry_declares_the_options_that_its_reader_takes(tmp_path):
    write(tmp_path / "a.png", 1)
    defaults = {name: default for name, (default, _) in ENTRY.options.items()}
    assert ENTRY.read(ENTRY.locate(tmp_path), **defaults).checksum() == image_folder(tmp_path).checksum()


def test_whether_to_invert_is_said_by_a_boolean(tmp_path):
    write(tmp_path / "0.png", 3)
    with pytest.raises(ArgumentError, match="expected invert to be True or False, got 'False'"):
        image_folder(tmp_path, invert="False")
