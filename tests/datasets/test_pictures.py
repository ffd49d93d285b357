"""Picture files become gray images: every kind, colours, transparency, and damage."""

import io
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from raw_files import attempt, noise_or_damage

from gmengine.data._resize import centred, fit_side, resize
from gmengine.data.formats.npy import read_npy
from gmengine.data.formats.pictures import SUFFIXES, read_picture
from gmengine.errors import DataError, FileFormatError
from gmengine.testing.tolerances import tolerance

one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
GRAY = np.arange(0, 240, 10, dtype=np.uint8).reshape(4, 6)
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".bmp": "BMP", ".gif": "GIF", ".tif": "TIFF", ".ppm": "PPM"}


def encoded(picture, suffix, **options):
    stream = io.BytesIO()
    if suffix == ".npy":
        np.save(stream, picture)
    else:
        Image.fromarray(picture).save(stream, FORMATS[suffix], **options)
    return stream.getvalue()


@pytest.fixture
def read(tmp_path):
    """Reads an array that was saved as a picture, or bytes."""

    def read(content, suffix=".png", invert=False, **options):
        content = content if isinstance(content, bytes) else encoded(content, suffix, **options)
        (tmp_path / f"picture{suffix}").write_bytes(content)
        return read_picture(tmp_path / f"picture{suffix}", invert=invert)

    return read


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".gif", ".tif", ".ppm", ".npy", ".PNG"])
def test_gray_comes_out_of_every_lossless_format_as_it_went_in(read, suffix):
    content = encoded(GRAY, suffix.lower())
    found = read(content, suffix)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, GRAY / np.float32(255))


def test_a_jpeg_file_is_read_as_pillow_decodes_it(read):
    content = encoded(GRAY, ".jpg")
    want = np.asarray(Image.open(io.BytesIO(content)))
    for suffix in (".jpg", ".jpeg"):
        np.testing.assert_array_equal(read(content, suffix), want / np.float32(255))


@pytest.mark.parametrize("suffix", [".png", ".ppm", ".npy", ".tif"])
def test_colours_are_weighted_as_in_luminance_and_white_is_exactly_one(read, suffix):
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [9, 9, 9]]], np.uint8)
    want = np.float32([[299 / 1000, 587 / 1000, 114 / 1000, 1, 9 / 255]])
    found = read(colours, suffix)
    np.testing.assert_allclose(found, want, rtol=tolerance("elementwise", "float32"))
    assert found[0, 3] == 1
    inverted = read(colours, suffix, invert=True)
    assert inverted[0, 3] == 0  # exactly: a component of weight 0 is absent
    np.testing.assert_allclose(inverted + found, np.ones((1, 5)), rtol=tolerance("elementwise", "float32"))


@pytest.mark.parametrize("suffix", [".png", ".npy"])
@pytest.mark.parametrize("invert", [False, True])
def test_what_is_transparent_is_zero(read, suffix, invert):
    channels = np.full((2, 3, 4), 102, np.uint8)
    channels[..., 3] = [[0, 51, 255]] * 2
    light = 0.6 if invert else 0.4
    want = np.tile(np.float32([0, light / 5, light]), (2, 1))
    rtol = tolerance("elementwise", "float32")
    np.testing.assert_allclose(read(channels, suffix, invert), want, rtol=rtol)
    np.testing.assert_allclose(read(channels[..., 2:], suffix, invert), want, rtol=rtol)  # gray and opacity


def test_a_transparent_colour_of_a_palette_is_zero(read):
    picture = Image.new("P", (3, 1))
    picture.putdata([0, 1, 2])
    picture.putpalette([255, 255, 255, 128, 128, 128, 0, 0, 0])
    stream = io.BytesIO()
    picture.save(stream, "PNG", transparency=0)
    np.testing.assert_array_equal(read(stream.getvalue()), np.float32([[0, 128 / 255, 0]]))
    np.testing.assert_array_equal(read(stream.getvalue(), invert=True), np.float32([[0, 127 / 255, 1]]))


@pytest.mark.parametrize("suffix", [".png", ".tif", ".npy", ".ppm"])
def test_sixteen_bits_are_kept(read, suffix):
    deep = np.array([[0, 1, 256, 65535], [2, 3, 4, 40000]], np.uint16)
    found = read(deep, suffix)
    np.testing.assert_array_equal(found, deep / np.float32(65535))
    np.testing.assert_array_equal(read(deep, suffix, invert=True)[0, [0, 3]], [1, 0])


@pytest.mark.parametrize("suffix", [".tif", ".npy"])
def test_floats_keep_their_values(read, suffix):
    values = np.array([[0, 0.5, 3e-30], [1, 7e9, 0.1]], np.float32)
    np.testing.assert_array_equal(read(values, suffix), values)
    np.testing.assert_array_equal(read(np.minimum(values, 1), suffix, invert=True), 1 - np.minimum(values, 1))


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0, 1e38])
def test_floats_that_are_no_intensities_are_refused(read, value):
    with pytest.raises(FileFormatError, match=r"picture\.npy: intensities from"):
        read(np.array([[0.5, value]]), ".npy")


def test_floats_above_one_can_not_be_inverted_and_are_no_opacity(read):
    with pytest.raises(FileFormatError, match="expected finite ones from 0 to 1"):
        read(np.array([[0.5, 2.0]]), ".npy", invert=True)
    with pytest.raises(FileFormatError, match="expected finite ones from 0 to 1"):
        read(np.array([[[0.5, 2.0]]]), ".npy")


def test_booleans_are_zero_and_one_and_other_arrays_are_refused(read):
    np.testing.assert_array_equal(read(np.eye(3, dtype=bool), ".npy"), np.eye(3))
    np.testing.assert_array_equal(read(np.eye(3, dtype=bool), ".npy", invert=True), 1 - np.eye(3))
    for array in (
        np.eye(3, dtype=int),
        np.zeros(3),
        np.zeros((3, 3, 5)),
        np.zeros((0, 3)),
        np.zeros((2,) * 4),
    ):
        with pytest.raises(FileFormatError, match=r"picture\.npy: .*expected"):
            read(array, ".npy")


def test_pictures_are_turned_as_the_camera_was_held(read):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise
    np.testing.assert_array_equal(read(GRAY, exif=exif), np.rot90(GRAY, -1) / np.float32(255))


def test_of_several_pictures_in_a_file_the_first_is_read(read):
    stream = io.BytesIO()
    first, second = Image.fromarray(GRAY), Image.fromarray(GRAY[::-1].copy())
    first.save(stream, "GIF", save_all=True, append_images=[second])
    np.testing.assert_array_equal(read(stream.getvalue(), ".gif"), GRAY / np.float32(255))


@pytest.mark.parametrize(
    ("text", "want"),
    [
        (b"P2\n# a remark\n3 1 # width, height\n4\n0 2\n4\n", [[0, 0.5, 1]]),
        (b"P5 3 1 4\n\0\2\4", [[0, 0.5, 1]]),
        (b"P5\t3\t1\r\n256\n\0\0\0\x80\1\0", [[0, 0.5, 1]]),
        (b"P5 1 1 4\n\2and a second picture", [[0.5]]),
        (b"P3 1 2 1 1 1 1  0 0 0", [[1], [0]]),
        (b"P6 1 2 1\n\1\1\1\0\0\0", [[1], [0]]),
    ],
)
def test_plain_and_raw_netpbm_files_are_read_without_pillow(read, monkeypatch, text, want):
    monkeypatch.setitem(sys.modules, "PIL", None)
    np.testing.assert_array_equal(read(text, ".pgm"), want)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "not a PGM or PPM"),
        (b"P4 1 1 1\n\0", "not a PGM or PPM"),
        (b"P5 1 1\n", "not a PGM or PPM"),
        (b"P5 #" + b"#" * 10**5, "not a PGM or PPM"),
        (b"P5" + b" " * 10**6, "not a PGM or PPM"),
        (b"P5 999999999 999999999 255\n", "999999999 x 999999999 pixels"),
        (b"P5 0 1 255\n", "0 x 1 pixels"),
        (b"P5 1 1 65536\n\0\0", "intensities up to 65536"),
        (b"P5 1 1 0\n\0", "intensities up to 0"),
        (b"P5 8000 8000 255\n\0", "truncated: expected 64000000 bytes, found 1"),
        (b"P5 1 1 4\n\5", "an intensity of 5"),
        (b"P2 1 1 4\n5", "an intensity of 5"),
        (b"P2 1 1 4\n99999999999999999999999", "an intensity of"),
        (b"P2 2 1 4\n1", "truncated: expected 2 numbers, found 1"),
        (b"P2 1 1 4\n", "truncated: expected 1 numbers, found 0"),
        (b"P2 1 1 4\n-1", "expected whole numbers"),
    ],
    ids=range(16),
)
def test_damaged_netpbm_files_are_refused_with_the_reason(read, text, reason):
    with pytest.raises(FileFormatError, match=rf"picture\.pgm: .*{reason}"):
        read(text, ".pgm")


@pytest.mark.parametrize("suffix", sorted(FORMATS))
def test_pictures_cut_off_anywhere_are_refused_or_whole(read, suffix):
    content = encoded(np.tile(GRAY, (5, 5)), suffix)
    refused = 0
    for length in range(0, len(content), max(1, len(content) // 60)):
        try:
            assert read(content[:length], suffix).shape == (20, 30)
        except FileFormatError:
            refused += 1
    assert refused > 50


def test_the_checksums_of_png_files_are_compared(read):
    content = bytearray(encoded(GRAY, ".png", compress_level=0))
    content[content.index(b"IDAT") + 20] ^= 1  # a pixel: everything else is as it should be
    with pytest.raises(FileFormatError, match=r"picture\.png: not a picture, or damaged"):
        read(bytes(content))


def test_a_picture_that_would_exhaust_the_memory_is_refused_by_its_header(read):
    content = encoded(GRAY, ".bmp")
    wide = content[:18] + (10**5).to_bytes(4, "little") * 2 + content[26:]
    with pytest.raises(FileFormatError, match=r"picture\.bmp: "):
        read(wide, ".bmp")
    with pytest.raises(FileFormatError, match=r"picture\.bmp: \(9000, 9000\) pixels"):
        read(content[:18] + (9000).to_bytes(4, "little") * 2 + content[26:], ".bmp")


def test_formats_that_start_other_programs_are_not_opened(read):
    with pytest.raises(FileFormatError, match="not a picture"):
        read(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")


def test_without_pillow_the_error_names_the_command(read, monkeypatch):
    content = encoded(GRAY, ".png")
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(DataError, match=r"picture\.png: .*pip install 'gmengine\[images\]'"):
        read(content)
    np.testing.assert_array_equal(read(GRAY, ".npy"), GRAY / np.float32(255))


@pytest.mark.parametrize("suffix", [*sorted(FORMATS), ".npy"])
def test_damaged_pictures_are_refused_or_are_images(tmp_path, suffix):
    path = tmp_path / f"picture{suffix}"

    @settings(one_folder, max_examples=25)
    @given(noise_or_damage(encoded(GRAY, suffix)))
    def check(content):
        path.write_bytes(content)
        found = attempt(read_picture, path)
        if found is not None:
            assert found.dtype == np.float32
            assert found.ndim == 2
            assert found.size > 0
            assert np.isfinite(found).all()
            assert (found >= 0).all()

    check()


@given(st.data(), st.booleans())
@one_folder
def test_arrays_of_numbers_come_back_from_npy_files_and_damaged_ones_are_refused(tmp_path, data, fortran):
    dtype = data.draw(st.sampled_from(["?", "<u2", ">i4", "<f4", ">f8", "<f2"]))
    array = data.draw(hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0)))
    stream = io.BytesIO()
    np.save(stream, np.asfortranarray(array) if fortran else array)
    path = tmp_path / "array.npy"
    path.write_bytes(stream.getvalue())
    found = read_npy(path)
    assert found.dtype == array.dtype.newbyteorder("=")
    assert found.flags.c_contiguous
    assert found.flags.writeable
    np.testing.assert_array_equal(found, array)
    path.write_bytes(data.draw(noise_or_damage(stream.getvalue())))
    attempt(read_npy, path)


@pytest.mark.parametrize(
    "array", [np.array([{}]), np.array(["text"]), np.zeros(2, "f4,f4"), np.zeros(1, "M8[s]")]
)
def test_npy_files_of_other_things_are_refused(tmp_path, array):
    np.save(tmp_path / "array.npy", array, allow_pickle=True)
    with pytest.raises(FileFormatError, match=r"array\.npy: expected booleans or real numbers"):
        read_npy(tmp_path / "array.npy")


@given(
    hnp.arrays(
        np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.floats(0, 1, width=16)
    ),
    st.integers(1, 12),
    st.integers(1, 12),
)
def test_resizing_keeps_the_mean_and_stays_between_least_and_largest(image, height, width):
    found = resize(image, height, width)
    assert found.shape == (height, width)
    assert found.dtype == np.float32
    rtol = tolerance("sum", "float32", image.size + found.size)
    np.testing.assert_allclose(found.mean(dtype=float), image.mean(dtype=float), rtol=rtol)
    assert found.min() >= image.min() * (1 - rtol)
    assert found.max() <= image.max() * (1 + rtol)


def test_areas_of_zero_stay_exactly_zero_when_resized():
    image = np.zeros((7, 7), np.float32)
    image[3, 3] = 1
    found = resize(image, 3, 5)
    assert (found > 0).sum() == 1
    np.testing.assert_array_equal(resize(image, 7, 7), image)
    np.testing.assert_array_equal(resize(image, 14, 21), np.repeat(np.repeat(image, 2, 0), 3, 1))


def test_proportions_are_kept_and_images_lie_in_the_middle():
    assert fit_side((100, 50), 10) == (10, 5)
    assert fit_side((3, 1000), 10) == (1, 10)
    assert fit_side((5, 7), 7) == (5, 7)
    found = centred([np.ones((1, 3), np.float32), np.full((4, 1), 2, np.float32)])
    np.testing.assert_array_equal(found[0], [[0] * 3, [1] * 3, [0] * 3, [0] * 3])
    np.testing.assert_array_equal(found[1], [[0, 2, 0]] * 4)


def test_every_suffix_can_be_read(read):
    for suffix in sorted(SUFFIXES):
        kind = {".jpeg": ".jpg", ".tiff": ".tif", ".pgm": ".ppm"}.get(suffix, suffix)
        assert read(encoded(GRAY, kind), suffix).shape == GRAY.shape
