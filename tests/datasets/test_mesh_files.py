"""Files of meshes and clouds, sound, damaged and of other formats."""

import gzip
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mesh_bytes import OBJ, OFF, SQUARE, TWO, XYZ, unsure

from gmengine.data.formats.mesh import Mesh, sample_surface
from gmengine.data.formats.mesh_files import read_cloud
from gmengine.data.formats.obj import parse_obj
from gmengine.data.formats.off import parse_off
from gmengine.data.formats.ply import write_ply
from gmengine.data.formats.ragged import Ragged
from gmengine.data.formats.xyz import parse_xyz
from gmengine.errors import ArgumentError, DataError, FileFormatError
from gmengine.testing import assert_close

# --- every reader, on whatever bytes


def unless_refused(parse, data, name):
    """What `parse` returns, or None if it raises the one error that it may, in due form."""
    try:
        return parse(data, name)
    except FileFormatError as error:
        refused = str(error)
    assert refused.startswith(f"{name}: ")
    return None


def mutations(valid):
    """Bytes, or `valid` cut off, or with pieces of it replaced, doubled or left out."""

    @st.composite
    def draw_one(draw):
        data = draw(st.sampled_from(valid))
        if draw(st.booleans()):
            data = data[: draw(st.integers(0, len(data)))]
        for _ in range(draw(st.integers(0, 4))):
            start = draw(st.integers(0, len(data)))
            stop = start + draw(st.integers(0, 8))
            patches = [st.binary(max_size=6), st.sampled_from(PATCHES), st.just(2 * data[start:stop])]
            data = data[:start] + draw(st.one_of(patches)) + data[stop:]
        return data

    return st.one_of(st.binary(max_size=200), draw_one())


PATCHES = [
    b"\n",
    b" ",
    b"-1",
    b"nan",
    b"1e999",
    b"99999999999999999999",
    b"/",
    b"\\\n",
    b"#",
    b"\r",
    b",",
    b"f 1",
    b"OFF",
]


@pytest.mark.parametrize(
    ("parse", "valid"), [(parse_obj, [OBJ]), (parse_off, [OFF, OFF.replace(b"F\n", b"F")])]
)
@given(data=st.data())
def test_whatever_the_bytes_a_mesh_is_sound_or_refused(parse, valid, data):
    mesh = unless_refused(parse, data.draw(mutations(valid)), "the name")
    assert mesh is None or np.isfinite(sample_surface(mesh, 5, 0)).all()


@given(mutations([XYZ, XYZ.replace(b" ", b","), b"x y z\n" + XYZ]))
def test_whatever_the_bytes_a_cloud_of_text_is_finite_or_refused(data):
    points = unless_refused(parse_xyz, data, "the name")
    assert points is None or (points.shape == (len(points), 3) and np.isfinite(points).all())


@pytest.fixture(scope="module")
def valid_files(tmp_path_factory):
    """The square in the formats whose bytes are not written by hand: suffix -> bytes."""
    folder = tmp_path_factory.mktemp("valid")
    write_square(folder / "a.ply", text=True)
    write_square(folder / "b.ply", text=False)
    np.save(folder / "a.npy", SQUARE)
    found = {".ply": [(folder / f"{one}.ply").read_bytes() for one in "ab"]}
    return {**found, ".npy": [(folder / "a.npy").read_bytes()], ".xyz.gz": [gzip.compress(XYZ, mtime=0)]}


def write_square(path, faces=True, **options):
    elements = {"vertex": dict(zip("xyz", SQUARE.T, strict=True))}
    if faces:
        elements["face"] = {"vertex_indices": Ragged(np.array([0, 1, 2, 3], np.int32), np.array([0, 4]))}
    write_ply(path, elements, **options)


@pytest.mark.parametrize("suffix", [".ply", ".npy", ".xyz.gz"])
@given(data=st.data())
def test_whatever_the_file_a_cloud_is_finite_or_refused(valid_files, tmp_path_factory, suffix, data):
    path = tmp_path_factory.getbasetemp() / f"fuzzed{suffix}"
    path.write_bytes(data.draw(mutations(valid_files[suffix])))
    points = unless_refused(lambda _, name: read_cloud(name, 5, 0), None, str(path))
    assert points is None or (1 <= len(points) <= 5 and np.isfinite(points).all())


# --- files


@pytest.mark.parametrize("name", ["a.obj", "a.off", "a.OFF.gz", "a.obj.GZ"])
def test_points_of_a_mesh_file_are_those_of_its_surface(tmp_path, name):
    data = OBJ if "obj" in name else OFF
    (tmp_path / name).write_bytes(gzip.compress(data) if "." in name[2:] else data)
    points = read_cloud(tmp_path / name, 64, 7)
    np.testing.assert_array_equal(points, sample_surface(Mesh(SQUARE, TWO), 64, 7))


@pytest.mark.parametrize("text", [False, True])
def test_a_ply_file_is_a_mesh_with_faces_and_a_cloud_without(tmp_path, text):
    write_square(tmp_path / "mesh.ply", text=text)
    mesh = read_cloud(tmp_path / "mesh.ply", 64, 7)
    np.testing.assert_array_equal(mesh, sample_surface(Mesh(SQUARE, TWO), 64, 7))
    write_square(tmp_path / "cloud.ply", faces=False, text=text)
    np.testing.assert_array_equal(read_cloud(tmp_path / "cloud.ply", 64, 7), SQUARE.astype(np.float32))


def test_a_ply_file_whose_faces_cannot_be_read_is_refused(tmp_path):
    vertex = dict(zip("xyz", SQUARE.T, strict=True))
    path = tmp_path / "odd.ply"
    strips = Ragged(np.array([0, 1, 2], np.int32), np.array([0, 3]))
    cases = [
        ({"vertex": {"x": SQUARE[:, 0]}}, "x, y, z"),
        ({"vertex": vertex, "tristrips": {"vertex_indices": strips}}, "lists called vertex_indices"),
        ({"vertex": vertex, "face": {"corners": strips}}, "lists called vertex_indices"),
        ({"vertex": vertex, "face": {"vertex_indices": np.array([1, 2], np.int32)}}, "lists of integers"),
        ({"vertex": dict.fromkeys("xyz", np.array([np.nan]))}, "point 0"),
        ({"vertex": dict.fromkeys("xyz", np.empty(0))}, "no points"),
    ]
    for elements, reason in cases:
        write_ply(path, elements)
        with pytest.raises(FileFormatError, match=rf"odd\.ply: .*{reason}"):
            read_cloud(path, 5, 0)


def test_large_clouds_are_thinned_without_repetition_in_their_own_order(tmp_path):
    path = tmp_path / "line.npy"
    np.save(path, np.arange(3000, dtype=np.int32).reshape(1000, 3))
    points = read_cloud(path, 100, 8)
    assert points.shape == (100, 3)
    assert (np.diff(points[:, 0]) > 0).all()
    np.testing.assert_array_equal(points, read_cloud(path, 100, 8))
    assert (points != read_cloud(path, 100, 9)).any()
    assert len(read_cloud(path, 1000, 8)) == len(read_cloud(path, 2000, 8)) == 1000


def test_each_point_of_a_cloud_is_kept_equally_often(tmp_path):
    np.save(tmp_path / "ten.npy", np.repeat(np.arange(10.0)[:, None], 3, axis=1))
    rng, rounds = np.random.default_rng(10), 400
    kept = np.concatenate([read_cloud(tmp_path / "ten.npy", 4, rng)[:, 0] for _ in range(rounds)])
    assert (np.abs(np.bincount(kept.astype(int), minlength=10) / rounds - 0.4) <= unsure(rounds)).all()


def test_a_normalised_cloud_is_centred_and_reaches_distance_one(tmp_path):
    rng = np.random.default_rng(11)
    cloud = rng.standard_normal((50, 3)) * [1, 2, 3]
    np.save(tmp_path / "a.npy", cloud)
    points = read_cloud(tmp_path / "a.npy", 50, 0, normalise=True)
    centred = cloud - cloud.mean(0)
    expected = centred / np.linalg.norm(centred, axis=1).max()
    assert_close("elementwise", points, expected, scale=1.0)
    # A place on the map, in metres: float32 alone would leave half a metre of it.
    np.save(tmp_path / "far.npy", cloud + 5e6)
    far = read_cloud(tmp_path / "far.npy", 50, 0, normalise=True)
    assert_close("elementwise", far, points, scale=1.0)


@pytest.mark.parametrize("copies", [1, 3])
def test_a_cloud_in_a_single_place_is_a_cloud(tmp_path, copies):
    (tmp_path / "one.xyz").write_bytes(b"0.1 0.2 0.3\n" * copies)
    expected = np.full((copies, 3), np.array([0.1, 0.2, 0.3], np.float32))
    np.testing.assert_array_equal(read_cloud(tmp_path / "one.xyz", 5, 0), expected)
    assert (read_cloud(tmp_path / "one.xyz", 5, 0, normalise=True) == 0).all()


@pytest.mark.parametrize("points", [0, -1, 1.5, True, "9"])
def test_a_number_of_points_is_a_positive_integer(tmp_path, points):
    with pytest.raises(ArgumentError, match="points"):
        read_cloud(tmp_path / "a.off", points, 0)


def test_an_unknown_ending_is_an_error_that_lists_the_known_ones(tmp_path):
    with pytest.raises(DataError, match=r"scan\.e57: unknown ending '\.e57'; known are .*\.off"):
        read_cloud(tmp_path / "scan.e57", 5, 0)
    with pytest.raises(FileNotFoundError):
        read_cloud(tmp_path / "missing.off", 5, 0)


def test_a_format_of_trimesh_without_trimesh_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "trimesh", None)
    with pytest.raises(DataError, match=r"part\.stl.*pip install 'gmengine\[mesh\]'"):
        read_cloud(tmp_path / "part.stl", 5, 0)


def test_what_trimesh_returns_is_checked_like_any_mesh(tmp_path, monkeypatch):
    path = tmp_path / "part.stl"
    path.write_bytes(b"anything")
    results = iter(
        [
            SimpleNamespace(vertices=SQUARE, faces=TWO),
            SimpleNamespace(vertices=SQUARE[:3], faces=TWO),
            KeyError("chunk"),
            ImportError("No module named 'collada'"),
        ]
    )

    def load(file, **options):
        assert (file, options) == (path, {"force": "mesh", "process": False})
        result = next(results)
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setitem(sys.modules, "trimesh", SimpleNamespace(load=load))
    np.testing.assert_array_equal(read_cloud(path, 9, 1), sample_surface(Mesh(SQUARE, TWO), 9, 1))
    for error, reason in (
        (FileFormatError, "vertex 3 of 3"),
        (FileFormatError, "trimesh: KeyError"),
        (DataError, "collada"),
    ):
        with pytest.raises(error, match=rf"part\.stl: .*{reason}"):
            read_cloud(path, 9, 1)
