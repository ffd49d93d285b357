"""PLY files: what is written is read, other writers' files are read, and no bytes do worse than an error."""

import gzip
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gmengine.data.formats.ply import Ragged, parse_ply, read_ply, write_ply
from gmengine.errors import ArgumentError, DTypeError, FileFormatError, ShapeError

DTYPES = ["i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8"]
names = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("ply")


@st.composite
def columns(draw, rows):
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    if draw(st.booleans()):
        return draw(hnp.arrays(dtype, rows))
    lengths = draw(hnp.arrays(np.int64, rows, elements=st.integers(0, 4)))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Ragged(draw(hnp.arrays(dtype, int(offsets[-1]))), offsets)


@st.composite
def tables(draw):
    rows = draw(st.integers(0, 5))
    return draw(st.dictionaries(names, columns(rows), min_size=1, max_size=4))


def assert_same(found, given):
    assert list(found) == list(given)
    for element, table in given.items():
        assert list(found[element]) == list(table)
        for name, column in table.items():
            got = found[element][name]
            if isinstance(column, Ragged):
                np.testing.assert_array_equal(got.offsets, column.offsets)
                got, column = got.values, column.values
            assert got.dtype == column.dtype
            np.testing.assert_array_equal(got, column)


@given(st.dictionaries(names, tables(), max_size=3), st.booleans())
def test_tables_and_lists_come_back_to_the_bit(folder, elements, text):
    write_ply(folder / "a.ply", elements, text=text, comments=["made here", "ç"])
    assert_same(read_ply(folder / "a.ply"), elements)


def mesh_bytes(order, names=("float", "uchar", "int"), faces=((0, 1, 2), (2, 1, 3)), newline="\n"):
    """Return a mesh file, written by struct alone."""
    real, count, index = names
    lines = [
        "ply",
        f"format binary_{'little' if order == '<' else 'big'}_endian 1.0",
        "comment a comment",
        "obj_info num_cols 4",
        "element vertex 4",
        *(f"property {real} {axis}" for axis in "xyz"),
        f"element face {len(faces)}",
        f"property list {count} {index} vertex_indices",
        "property uint8 flag",
        "end_header",
    ]
    body = b"".join(struct.pack(f"{order}3f", i, -i, 0.5 * i) for i in range(4))
    for face in faces:
        body += struct.pack(f"{order}B{len(face)}iB", len(face), *face, 7)
    return (newline.join(lines) + newline).encode() + body


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("types", [("float", "uchar", "int"), ("float32", "uint8", "int32")])
def test_other_writers_orders_spellings_and_line_ends_are_read(order, newline, types):
    found = parse_ply(mesh_bytes(order, types, newline=newline), "mesh")
    assert found["vertex"]["x"].dtype == np.float32
    np.testing.assert_array_equal(found["vertex"]["y"], [0, -1, -2, -3])
    np.testing.assert_array_equal(found["face"]["vertex_indices"].table(), [[0, 1, 2], [2, 1, 3]])
    np.testing.assert_array_equal(found["face"]["flag"], [7, 7])


@pytest.mark.parametrize("order", ["<", ">"])
def test_faces_of_different_sizes_are_read(order):
    faces = ((0, 1, 2), (0, 1, 2, 3), (), (3,))
    found = parse_ply(mesh_bytes(order, faces=faces), "mesh")["face"]
    assert found["vertex_indices"].table() is None
    assert [tuple(found["vertex_indices"][i].tolist()) for i in range(4)] == list(faces)
    np.testing.assert_array_equal(found["flag"], [7] * 4)


def text_file(*rows, header=("element vertex 2", "property float x", "property short n")):
    return "\n".join(["ply", "format ascii 1.0", *header, "end_header", *rows]).encode()


def test_text_is_read_whatever_the_blanks_and_numbers_beyond_the_type_become_infinite():
    found = parse_ply(text_file("  nan\t 3", "", "-1e300 -4", ""), "text")["vertex"]
    np.testing.assert_array_equal(found["x"], np.float32([np.nan, -np.inf]))
    np.testing.assert_array_equal(found["n"], np.int16([3, -4]))


def test_long_text_is_parsed_in_pieces(folder):
    table = {"vertex": {"x": np.random.default_rng(0).standard_normal(70_000)}}
    write_ply(folder / "long.ply", table, text=True)
    assert (folder / "long.ply").stat().st_size > 1 << 20
    assert_same(read_ply(folder / "long.ply"), table)


def test_gzipped_files_are_inflated(folder):
    (folder / "mesh.ply.gz").write_bytes(gzip.compress(mesh_bytes("<")))
    assert len(read_ply(folder / "mesh.ply.gz")["face"]["flag"]) == 2
    (folder / "cut.ply.gz").write_bytes(gzip.compress(mesh_bytes("<"))[:-20])
    with pytest.raises(FileFormatError, match=r"cut\.ply\.gz"):
        read_ply(folder / "cut.ply.gz")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not a PLY file"),
        (b"plyx\n", "not a PLY file"),
        (b"ply\nformat ascii 1.0\nelement vertex 1", "does not end"),
        (b"ply\nend_header\n", "does not say the format"),
        (b"ply\nformat ascii 2.0\nend_header\n", "unknown format"),
        (b"ply\nformat binary 1.0\nend_header\n", "unknown format"),
        (b"ply\nformat ascii 1.0\nelement a 1\nend_header\n1", "without properties"),
        (b"ply\nformat ascii 1.0\nproperty int x\nend_header\n", "unexpected line"),
        (text_file("1 2", header=("element a -1", "property int x")), "number of rows"),
        (text_file("1 2", header=("element a 1", "element a 1")), "two elements"),
        (text_file("1 2", header=("element a 1", "property int x", "property char x")), "two properties"),
        (text_file("1 2", header=("element a 1", "property half x")), "unknown type 'half'"),
        (text_file("1 2", header=("element a 1", "property list float int x")), "length of a list"),
        (text_file("1 2", header=("element a 1", "property list uchar x")), "unexpected line"),
        (text_file("-1 2", header=("element a 1", "property list char int x")), "length of a list"),
        (text_file("1 2"), "ends before the 2 rows"),
        (text_file("1 2", "3 x"), "got 'x'"),
        (text_file("1 2", "3 1_0"), "got '1_0'"),
        (text_file("1 2", "3 4.5"), "whole number of type int16, got 4.5"),
        (text_file("1 2", "3 40000"), "int16, got 40000.0"),
        (text_file("1 2", "3 4", "5"), "1 numbers follow"),
        (mesh_bytes("<")[:-1], "ends before the 2 rows of element 'face'"),
        (mesh_bytes("<") + b"\x00", "1 bytes follow"),
    ],
)
def test_what_is_wrong_is_said_with_the_name_of_the_file(data, reason):
    with pytest.raises(FileFormatError, match=f"^some file: .*{reason}"):
        parse_ply(data, "some file")


@pytest.mark.parametrize("kind", ["ascii", "binary_little_endian"])
@pytest.mark.parametrize("prop", ["double x", "list uchar double x", "list int uchar x"])
def test_counts_beyond_the_file_cost_nothing(kind, prop):
    head = f"ply\nformat {kind} 1.0\nelement vertex 999999999999999999\nproperty {prop}\nend_header\n"
    with pytest.raises(FileFormatError, match="ends before"):
        parse_ply(head.encode() + b"1 2 3 4 ", "bomb")


def test_a_list_longer_than_the_file_is_refused():
    head = "ply\nformat binary_little_endian 1.0\nelement a 1\nproperty list int double x\nend_header\n"
    for length, reason in ((2**31 - 1, "ends before"), (-5, "length -5")):
        with pytest.raises(FileFormatError, match=reason):
            parse_ply(head.encode() + struct.pack("<i", length) + bytes(16), "bomb")


def test_a_header_that_never_ends_is_refused():
    with pytest.raises(FileFormatError, match="does not end within 1048576 bytes"):
        parse_ply(b"ply\nformat ascii 1.0\n" + b"comment x\n" * 200_000 + b"end_header\n", "long")


def complaint(data):
    """Return what the reader says of the bytes; any other exception comes through."""
    try:
        return f"file: {list(parse_ply(data, 'file'))}"
    except FileFormatError as error:
        return str(error)


valid = st.sampled_from(
    [
        mesh_bytes("<"),
        mesh_bytes(">", faces=((0, 1), (2, 1, 3, 0), ())),
        text_file("1 2", "3 4"),
        text_file("2 5 6 1", "1 7 8", header=("element a 2", "property list int int v", "property int w")),
    ]
)
edits = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 3), st.binary(max_size=4)), max_size=4)


@given(valid, edits)
def test_a_damaged_ply_file_is_read_or_refused_by_one_error(data, changes):
    for at, cut, put in changes:
        at %= len(data) + 1
        data = data[:at] + put + data[at + cut :]
    assert complaint(data).startswith("file: ")


lines = st.lists(
    st.builds(
        " ".join,
        st.lists(
            st.sampled_from(
                ["element", "property", "list", "int", "char", "float", "a", "b", "2", "0", "-1"]
            ),
            max_size=5,
        ),
    ),
    max_size=6,
)


@given(
    st.sampled_from(["ascii", "binary_big_endian"]), lines, st.binary(max_size=30) | st.just(b"1 2 0 1 1 ")
)
def test_any_header_over_any_ply_rows_is_read_or_refused(kind, middle, rows):
    head = "\n".join(["ply", f"format {kind} 1.0", *middle, "end_header", ""])
    assert complaint(head.encode() + rows).startswith("file: ")


def test_what_cannot_be_written_as_ply_is_refused_and_leaves_no_file(tmp_path):
    file = tmp_path / "x.ply"
    for elements, error, reason in [
        ({"v": {"x": np.arange(3)}}, DTypeError, r"v\.x: PLY has no type for int64"),
        ({"v": {"x": np.zeros(3), "y": np.zeros(2)}}, ShapeError, "x 3, y 2"),
        ({"v": {"x": np.zeros((2, 2, 2))}}, ShapeError, "rows, k"),
        ({"v w": {"x": np.zeros(1)}}, ArgumentError, "'v w'"),
        ({"v": {"": np.zeros(1)}}, ArgumentError, "blanks"),
    ]:
        with pytest.raises(error, match=reason):
            write_ply(file, elements)
    with pytest.raises(ArgumentError, match="one line"):
        write_ply(file, {}, comments=["a\nend_header"])
    assert list(tmp_path.iterdir()) == []


def test_long_lists_and_rows_of_equal_length_are_written(tmp_path):
    faces = np.arange(12, dtype=np.uint16).reshape(4, 3)[:, ::-1]
    long = Ragged(np.arange(300, dtype=">f4"), np.array([0, 0, 299, 300, 300]))
    write_ply(tmp_path / "x.ply", {"face": {"faces": faces, "long": long}})
    found = read_ply(tmp_path / "x.ply")["face"]
    np.testing.assert_array_equal(found["faces"].table(), faces)
    np.testing.assert_array_equal(found["long"].values, np.arange(300))
    np.testing.assert_array_equal(found["long"].lengths, [0, 299, 1, 0])


def test_lists_with_offsets_of_another_array_are_refused():
    for offsets in ([1, 3], [0, 2], [0, 2, 1, 3], [[0, 3]], [0.0, 3.0]):
        with pytest.raises(ShapeError, match="Ragged"):
            Ragged(np.zeros(3), np.array(offsets))
