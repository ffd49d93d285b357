"""Meshes and clouds in text, and points drawn from surfaces."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from mesh_bytes import OBJ, OFF, SQUARE, TWO, XYZ, unsure

from gmengine.data.formats.mesh import Mesh, checked_mesh, fan, relative_areas, sample_surface, surface_points
from gmengine.data.formats.obj import parse_obj
from gmengine.data.formats.off import parse_off
from gmengine.data.formats.xyz import parse_xyz, points_of_array
from gmengine.errors import ArgumentError, FileFormatError


def same(mesh, vertices=SQUARE, triangles=TWO):
    np.testing.assert_array_equal(mesh.vertices, vertices)
    np.testing.assert_array_equal(mesh.triangles, triangles)
    assert (mesh.vertices.dtype, mesh.triangles.dtype) == (np.float64, np.int64)


# --- OBJ


@pytest.mark.parametrize(
    "text",
    [
        OBJ,
        OBJ.replace(b"\n", b"\r\n"),
        OBJ.replace(b"\n", b"\r"),
        OBJ.replace(b"f 1 2 3 4", b"f 1/7 2/8 3/9 4/10"),
        OBJ.replace(b"f 1 2 3 4", b"f 1//7 2//7 3//7 4//7"),
        OBJ.replace(b"f 1 2 3 4", b"f 1/1/7 2/2/7 3/3/7 4/4/7"),
        OBJ.replace(b"f 1 2 3 4", b"f -4 -3 -2 -1"),
        OBJ.replace(b"f 1 2 3 4", b"  f\t1 2 \\\n 3 4 # a comment"),
        OBJ.replace(b"v 1 0 0", b"v 1.0e0 0 0 1.0").replace(b"v 0 0 0", b"v 0 0 0 0.5 0.5 0.5 1"),
        b"\xef\xbb\xbf# made by hand\nmtllib a.mtl\no square\nvn 0 0 1\nvt 0 0\n"
        + OBJ
        + b"usemtl x#1\ng\ns off",
        OBJ + b"f 1 2\nf 3",  # faces without a surface
    ],
)
def test_an_obj_file_is_read_however_it_is_spelled(text):
    same(parse_obj(text, "square.obj"))


def test_negative_corners_of_obj_count_from_the_last_vertex_above_the_face():
    text = b"v 0 0 0\nv 1 0 0\nv 1 1 0\nf -3 -2 -1\nv 0 1 0.5\nf 1 3 -1\n"
    same(parse_obj(text, "square.obj"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "no faces"),
        (OBJ.replace(b"f", b"#"), "no faces"),
        (OBJ.replace(b"v 1 0 0", b"v 1 0"), "vertex 1 has less"),
        (OBJ.replace(b"v 1 1 0", b"v 1 x 0"), "vertex 2 has a damaged"),
        (OBJ.replace(b"v 1 1 0", b"v 1 nan 0"), "vertex 2 is not a place"),
        (OBJ.replace(b"v 1 1 0", b"v 1 1e39 0"), "vertex 2 is not a place"),
        (OBJ.replace(b"f 1", b"f 0"), "before the first"),
        (OBJ.replace(b"f 1", b"f -5"), "before the first"),
        (OBJ.replace(b"f 1", b"f 5"), "vertex 4 of 4"),
        (OBJ.replace(b"f 1", b"f 1.5"), "not a number of a vertex"),
        (OBJ.replace(b"f 1", b"f " + b"9" * 30), "not a number of a vertex"),
        (OBJ.replace(b"f 1", b"f " + b"9" * 5000), "not a number of a vertex"),
        (OBJ.replace(b"f 1 2 3 4", b"f 1 2 2"), "no triangle has an area"),
        (OBJ + b"f" + b" 1" * 600_000, "longer than"),
    ],
)
def test_a_damaged_obj_file_is_refused_with_its_name_and_reason(text, reason):
    with pytest.raises(FileFormatError, match=f"^square.obj: .*{reason}"):
        parse_obj(text, "square.obj")


# --- OFF


@pytest.mark.parametrize(
    "text",
    [
        OFF,
        OFF.replace(b"\n", b"\r\n"),
        OFF.replace(b"OFF\n4 1 0", b"OFF4 1 0"),
        OFF.replace(b"OFF\n4 1 0", b"OFF 4 1"),
        OFF.replace(b"OFF\n", b"# a comment\n\nOFF # and\n\n# more\n"),
        OFF.replace(b"OFF", b"COFF").replace(b"0 0 0\n", b"0 0 0 255 0 0 255\n"),
        OFF.replace(b"OFF", b"STCNOFF").replace(b"1 1 0\n", b"1 1 0 0 0 1 9 9 9 9 0.5 0.5\n"),
        OFF.replace(b"4 0 1 2 3", b"4 0 1 2 3 0.5 0.5 0.5") + b"anything after the last face",
        OFF.replace(b"4 1 0", b"4 3 0") + b"1 0\n0\n",  # faces without a surface
    ],
)
def test_an_off_file_is_read_however_it_is_spelled(text):
    same(parse_off(text, "square.off"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "not an OFF file"),
        (b"solid\n" + OFF, "not an OFF file"),
        (OFF.replace(b"OFF", b"4OFF"), "three dimensions"),
        (OFF.replace(b"OFF", b"nOFF"), "three dimensions"),
        (OFF.replace(b"OFF", b"OFF BINARY"), "three dimensions in text"),
        (b"OFF", "expected the numbers"),
        (OFF.replace(b"4 1 0", b"4"), "expected the numbers"),
        (OFF.replace(b"4 1 0", b"-4 1 0"), "expected the numbers"),
        (OFF.replace(b"4 1 0", b"2000000000 2000000000 0"), "cannot be in"),
        (OFF.replace(b"4 1 0", b"9" * 18 + b" 1 0"), "cannot be in"),
        (OFF.replace(b"4 1 0", b"9" * 5000 + b" 1 0"), "expected the numbers"),
        (OFF.replace(b"4 1 0", b"4 0 0"), "no faces"),
        (OFF.replace(b"4 1 0", b"4 4 0"), "after 1 of 4 faces"),
        (OFF.replace(b"4 1 0", b"6 0 0"), "after 5 of 6 vertices"),
        (OFF.replace(b"1 1 0", b"1 1"), "vertex 2 has less"),
        (OFF.replace(b"1 1 0", b"1 -nan 0"), "vertex 2 is not a place"),
        (OFF.replace(b"1 1 0", b"1 1,5 0"), "vertex 2 has a damaged"),
        (OFF.replace(b"2 3\n", b"2 4\n"), "vertex 4 of 4"),
        (OFF.replace(b"2 3\n", b"2 -1\n"), "vertex -1 of 4"),
        (OFF.replace(b"2 3\n", b"2\n"), "face 0 has 3 of 4"),
        (OFF.replace(b"4 0 1", b"-1 0 1"), "face 0 has"),
        (OFF.replace(b"4 0 1", b"x 0 1"), "face 0 has a damaged number"),
        (OFF.replace(b"4 0 1", b"4 0 1e0"), "face 0 has a damaged number"),
        (OFF.replace(b"4 0 1", b"4 0 " + b"9" * 30), "absurd"),
    ],
)
def test_a_damaged_off_file_is_refused_with_its_name_and_reason(text, reason):
    with pytest.raises(FileFormatError, match=f"^square.off: .*{reason}"):
        parse_off(text, "square.off")


def test_counts_that_no_memory_could_hold_take_none():
    text = OFF.replace(b"4 1 0", b"2000000000 2000000000 0")
    tracemalloc.start()
    try:
        with pytest.raises(FileFormatError, match="cannot be in"):
            parse_off(text, "square.off")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


# --- text clouds and arrays


@pytest.mark.parametrize(
    "text",
    [
        XYZ,
        XYZ.replace(b" ", b","),
        XYZ.replace(b" ", b", "),
        XYZ.replace(b" ", b";"),
        XYZ.replace(b" ", b"\t").replace(b"\n", b"\r\n"),
        b"x y z\n" + XYZ,
        b"x,y,z,nx\n" + XYZ.replace(b" ", b",").replace(b"\n", b",0.5\n"),
        b"//X Y Z\n# comment\n\n" + XYZ,
        XYZ.replace(b"\n", b" 0.25 -1 1e3\n"),
        XYZ.rstrip(),
    ],
)
def test_a_cloud_of_text_is_read_whatever_separates_its_columns(text):
    np.testing.assert_array_equal(parse_xyz(text, "cloud.xyz"), SQUARE)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "no points"),
        (b"# nothing\nx y z\n", "no points"),
        (XYZ.replace(b"1 1 0", b"1 1"), "point 2 has less"),
        (XYZ.replace(b"1 1 0", b"1 NaN 0"), "point 2 is not a place in space: 1 nan 0"),
        (XYZ.replace(b"1 1 0", b"1 -inf 0"), "point 2 is not a place"),
        (XYZ.replace(b"1 1 0", b"1 one 0"), "point 2 has a damaged"),
        (b"nan nan nan\n", "point 0 is not a place"),
        (b"1,2,,3\n", "a column is empty"),
        (b"1,2,3\n,2,3\n", "a column is empty"),
        (b"1,5;2,5;3,5\n", "decimal commas"),
        (b"4\n" + XYZ, "point 0 has less"),
        (b"1 2 3" + b"0" * 2**20, "longer than"),
    ],
)
def test_a_damaged_cloud_of_text_is_refused_with_its_name_and_reason(text, reason):
    with pytest.raises(FileFormatError, match=f"^cloud.xyz: .*{reason}"):
        parse_xyz(text, "cloud.xyz")


@pytest.mark.parametrize(
    "array",
    [np.zeros(3), np.zeros((3, 2)), np.zeros((2, 3), bool), np.zeros((2, 3), complex), np.zeros((0, 3))],
)
def test_an_array_that_is_no_cloud_is_refused(array):
    with pytest.raises(FileFormatError, match=r"^cloud.npy: (expected real numbers|no points)"):
        points_of_array(array, "cloud.npy")


# --- round trips

_COORDINATE = st.floats(-1e30, 1e30, allow_subnormal=False)


@st.composite
def meshes(draw):
    """A mesh in which at least the first triangle has an area."""
    count = draw(st.integers(0, 6))
    vertices = np.concatenate([np.eye(3) * 1e30, draw(arrays(np.float64, (count, 3), elements=_COORDINATE))])
    corners = st.integers(0, len(vertices) - 1)
    more = draw(arrays(np.int64, (draw(st.integers(0, 6)), 3), elements=corners))
    return Mesh(vertices, np.concatenate([[[0, 1, 2]], more]))


@given(meshes())
def test_a_mesh_written_as_text_is_read_back_to_the_bit(mesh):
    places = [" ".join(map(repr, row)) for row in mesh.vertices.tolist()]
    faces = mesh.triangles.tolist()
    obj = [f"v {place}" for place in places] + [f"f {a + 1} {b + 1} {c + 1}" for a, b, c in faces]
    same(parse_obj("\n".join(obj).encode(), "x"), mesh.vertices, mesh.triangles)
    off = [f"OFF {len(places)} {len(faces)} 0", *places, *(f"3 {a} {b} {c}" for a, b, c in faces)]
    same(parse_off("\n".join(off).encode(), "x"), mesh.vertices, mesh.triangles)
    np.testing.assert_array_equal(parse_xyz("\n".join(places).encode(), "x"), mesh.vertices)


def test_more_lines_than_are_read_at_once_are_all_read():
    side = 150
    x, y = np.meshgrid(np.arange(side), np.arange(side))
    vertices = np.stack([x, y, x * y], -1).reshape(-1, 3)
    first = (np.arange(side - 1) + side * np.arange(side - 1)[:, None]).ravel()
    faces = np.stack([first, first + 1, first + side + 1, first + side], 1)
    off = f"OFF {len(vertices)} {len(faces)} 0\n" + lines(vertices) + lines(np.insert(faces, 0, 4, axis=1))
    obj = lines(vertices, "v ") + lines(faces + 1, "f ")
    relative = lines(vertices, "v ") + lines(faces - len(vertices), "f ")
    expected = fan(faces.ravel(), np.full(len(faces), 4))
    for mesh in (
        parse_off(off.encode(), "x"),
        parse_obj(obj.encode(), "x"),
        parse_obj(relative.encode(), "x"),
    ):
        same(mesh, vertices, expected)


def lines(rows, prefix=""):
    return "".join(f"{prefix}{' '.join(map(str, row))}\n" for row in rows.tolist())


def test_polygons_are_cut_into_fans():
    corners = np.array([9, 8, 7, 6, 5, 1, 2, 4, 3, 0])
    expected = [[9, 8, 7], [9, 7, 6], [9, 6, 5], [4, 3, 0]]
    np.testing.assert_array_equal(fan(corners, np.array([5, 0, 2, 3])), expected)


# --- points of surfaces


def test_triangles_are_drawn_in_proportion_to_their_areas_and_never_without_one():
    sides = np.array([1.0, 0.0, 2.0, 0.5, 3.0])
    corners = np.array([[[0, 0], [side, 0], [0, side]] for side in sides])
    heights = np.broadcast_to(np.arange(5.0)[:, None, None], (5, 3, 1))
    mesh = Mesh(np.concatenate([corners, heights], 2).reshape(-1, 3), np.arange(15).reshape(5, 3))
    count = 20_000
    drawn = sample_surface(mesh, count, 3)[:, 2]
    shares = np.array([(drawn == height).mean() for height in range(5)])
    assert shares.sum() == 1
    assert shares[1] == 0
    assert (np.abs(shares - sides**2 / (sides**2).sum()) <= unsure(count)).all()


def test_points_are_uniform_within_a_triangle():
    mesh = Mesh(np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]), np.array([[0, 1, 2]]))
    count = 20_000
    x, y, z = sample_surface(mesh, count, 4).T
    assert (z == 0).all()
    assert (x >= 0).all()
    assert (y >= 0).all()
    assert (x + y <= 1 + np.finfo(np.float32).eps).all()
    # Halving the sides makes four triangles of a quarter each.
    quarters = [x > 0.5, y > 0.5, x + y < 0.5, (x <= 0.5) & (y <= 0.5) & (x + y >= 0.5)]
    for quarter in quarters:
        assert abs(quarter.mean() - 0.25) <= unsure(count)


def test_points_depend_on_the_seed_alone_and_are_float32():
    mesh = parse_obj(OBJ, "square.obj")
    points = sample_surface(mesh, 100, 5)
    assert points.dtype == np.float32
    assert points.shape == (100, 3)
    np.testing.assert_array_equal(points, sample_surface(mesh, 100, np.random.default_rng(5)))
    assert (points != sample_surface(mesh, 100, 6)).any()
    assert sample_surface(mesh, 0, 5).shape == (0, 3)


@pytest.mark.parametrize("exponent", [-1000, -100, 100, 1000])
def test_areas_neither_overflow_nor_vanish_at_any_scale(exponent):
    scale = 2.0**exponent
    mesh, scaled = Mesh(SQUARE, TWO), Mesh(SQUARE * scale, TWO)
    np.testing.assert_array_equal(relative_areas(scaled), relative_areas(mesh))
    np.testing.assert_array_equal(surface_points(scaled, 50, 0), surface_points(mesh, 50, 0) * scale)


def test_a_mesh_without_a_surface_gives_no_points():
    flat = Mesh(np.zeros((3, 3)), np.array([[0, 1, 2]]))
    for mesh in (flat, Mesh(SQUARE, np.empty((0, 3), np.int64))):
        with pytest.raises(ArgumentError, match="surface"):
            sample_surface(mesh, 10, 0)
    with pytest.raises(ArgumentError, match="surface"):
        sample_surface(Mesh(SQUARE, TWO), -1, 0)


def test_a_mesh_of_integers_and_unsigned_corners_is_checked_like_any_other():
    same(checked_mesh(SQUARE.tolist(), TWO.astype(np.uint32), "x"))
