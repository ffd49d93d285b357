"""Gaussian splats: what a file says is the function that comes of it, and back."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

import gmengine as gm
from gmengine.data._rotations import principal_axes, quaternions, rotations
from gmengine.data.formats.ply import read_ply, write_ply
from gmengine.data.splats import Splats, read_splats, write_splats
from gmengine.errors import ArgumentError, FileFormatError, NonFiniteError, ShapeError
from gmengine.mixture import Mixture
from gmengine.testing import assert_close
from gmengine.testing.strategies import random_mixture, seeds


def vertices(n=6, rest=9, seed=0):
    """Return the columns of a scene as training writes them, float32."""
    rng = np.random.default_rng(seed)
    names = ["x", "y", "z", "nx", "ny", "nz", *(f"f_dc_{i}" for i in range(3))]
    names += [*(f"f_rest_{i}" for i in range(rest)), "opacity", *(f"scale_{i}" for i in range(3))]
    names += [f"rot_{i}" for i in range(4)]
    return {name: rng.standard_normal(n).astype(np.float32) for name in names}


def scene(path, table):
    write_ply(path, {"vertex": table})
    return read_splats(path)


def test_a_splat_is_opacity_times_a_gaussian_of_peak_1(tmp_path):
    table = vertices()
    splats = scene(tmp_path / "a.ply", table)
    spin = np.stack([table[f"rot_{i}"] for i in range(4)], axis=-1).astype(np.float64)
    turn = Rotation.from_quat(spin, scalar_first=True).as_matrix()
    lengths = np.exp(np.stack([table[f"scale_{i}"] for i in range(3)], axis=-1).astype(np.float64))
    want = np.einsum("nij,nj,nkj->nik", turn, lengths**2, turn)
    opacity = 1 / (1 + np.exp(-table["opacity"].astype(np.float64)))
    m = splats.mixture
    condition = np.linalg.cond(want).max()
    assert_close("elementwise", m.covariances, want, scale=np.abs(want).max(axis=(1, 2), keepdims=True))
    assert_close("solve", splats.opacity, opacity, condition=condition)
    assert_close("elementwise", m.weights, opacity * (2 * np.pi) ** 1.5 * lengths.prod(axis=-1))
    one = m.__class__(m.weights[:1], m.means[:1], m.covariances[:1])
    there = m.means[0] + turn[0] @ [lengths[0, 0], 0, 0]  # one standard deviation along the first axis
    values = gm.evaluate(one, np.stack([m.means[0], there]))
    assert_close("solve", values, opacity[0] * np.array([1, math.exp(-0.5)]), condition=condition)


@pytest.mark.parametrize("rest", [0, 9, 24, 45])
def test_harmonics_colours_and_further_properties_come_back_to_the_bit(tmp_path, rest):
    table = vertices(rest=rest) | {"label": np.arange(6, dtype=np.uint8)}
    splats = scene(tmp_path / "a.ply", table)
    assert splats.harmonics.shape == (6, 1 + rest // 3, 3)
    np.testing.assert_array_equal(splats.harmonics[:, 0, 2], table["f_dc_2"])
    if rest:
        np.testing.assert_array_equal(splats.harmonics[:, 2, 1], table[f"f_rest_{rest // 3 + 1}"])
    assert_close(
        "elementwise",
        splats.colours[:, 0],
        0.5 + table["f_dc_0"] * np.float32(0.28209479177387814),
        scale=1.0,
    )
    write_splats(tmp_path / "b.ply", splats)
    found = read_ply(tmp_path / "b.ply")["vertex"]
    assert set(found) == set(table)
    for name in [n for n in table if n.startswith(("f_", "n", "label")) or n in "xyz"]:
        assert found[name].dtype == table[name].dtype
        np.testing.assert_array_equal(found[name], table[name], err_msg=name)


def assert_same_function(a, b, dtype="float32"):
    condition = np.linalg.cond(b.covariances).max()
    assert_close("solve", a.amplitudes.astype(dtype), b.amplitudes, condition=condition)
    scale = np.abs(b.covariances).max(axis=(-1, -2), keepdims=True)
    # a logarithm of size up to 10 is kept as a float32
    assert_close("sum", a.covariances.astype(dtype), b.covariances, scale=scale, size=100)
    assert_close("elementwise", a.means.astype(dtype), b.means)


@given(seeds, st.booleans())
def test_mixtures_come_back_as_splats(tmp_path_factory, seed, text):
    m = random_mixture(seed, (), 12, 3, signed=False)
    file = tmp_path_factory.getbasetemp() / "m.ply"
    factor = write_splats(file, m, normalise=True, text=text)
    assert_same_function(read_splats(file).mixture, m * factor)
    assert_close("sum", read_splats(file).opacity.max().astype("float32"), np.float64(0.99))


ROUND = [
    np.diag([4.0, 4.0, 4.0]),
    np.diag([1.0, 9.0, 1.0]),
    np.diag([9.0, 1.0, 9.0]),
    np.diag([1.0, 2.0, 3.0]),
    np.array([[2.0, 1, 1], [1, 2, 1], [1, 1, 2]]),
    np.array([[2.0, -0.5, -0.5], [-0.5, 2, -0.5], [-0.5, -0.5, 2]]),
]


def test_equally_long_axes_follow_the_rule_whatever_rounding_does(tmp_path):
    covariances = np.stack(ROUND)
    axes, lengths = principal_axes(covariances, float(np.finfo(np.float64).eps))
    assert_close("sum", np.einsum("nij,nj,nkj->nik", axes, lengths**2, axes), covariances, size=100)
    assert_close("sum", np.linalg.det(axes), np.ones(6))
    assert (np.diff(lengths) <= 0).all() or (np.diff(lengths).max() < 1e-12)
    np.testing.assert_array_equal(axes[0], np.eye(3))
    np.testing.assert_array_equal(axes[1][:, 0], [0, 1, 0])
    np.testing.assert_array_equal(axes[3][:, 0], [0, 0, 1])
    noise = np.random.default_rng(0).standard_normal((6, 3, 3)) * np.finfo(np.float64).eps
    nudged, _ = principal_axes(
        covariances + noise + np.swapaxes(noise, 1, 2), float(np.finfo(np.float64).eps)
    )
    assert_close("sum", nudged, axes, size=1000)
    m = Mixture(np.full(6, 0.5), np.zeros((6, 3)), covariances)
    write_splats(tmp_path / "m.ply", m)
    assert_same_function(read_splats(tmp_path / "m.ply").mixture, m)
    first = (tmp_path / "m.ply").read_bytes()
    write_splats(tmp_path / "m.ply", m)
    assert (tmp_path / "m.ply").read_bytes() == first


@given(seeds)
def test_quaternions_and_rotations_are_inverse_and_agree_with_scipy(seed):
    rng = np.random.default_rng(seed)
    q = rng.standard_normal((20, 4))
    q[:6] = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, 0], [0, 0, 0, 1e-30], [0, 1, 1, 0], [1, -1, 1, -1]]
    R = rotations(q)
    q /= np.linalg.norm(q, axis=-1, keepdims=True)
    assert_close("sum", R, Rotation.from_quat(q, scalar_first=True).as_matrix(), size=16)
    back = quaternions(R)
    assert_close("sum", np.abs(np.sum(back * q, axis=-1)), np.ones(20), size=16)
    assert_close("sum", back[4], np.array([0, 1, 1, 0]) / 2**0.5, size=16)
    assert_close("sum", back[2], np.array([0.0, 0, 1, 0]), size=16)


def test_flat_splats_are_thickened_and_keep_their_opacity(tmp_path):
    table = vertices() | {f"scale_{i}": np.full(6, s, np.float32) for i, s in enumerate((0.0, -1.0, -40.0))}
    splats = scene(tmp_path / "a.ply", table)
    values = np.linalg.eigvalsh(splats.mixture.covariances)
    opacity = 1 / (1 + np.exp(-table["opacity"].astype(np.float64)))
    assert_close("sum", values[:, 0], np.full(6, 1e-10), size=9, scale=values[:, 2])
    # The determinant of a rounded covariance carries its whole condition number, 1e10, not the square root.
    assert_close("solve", splats.opacity, opacity, condition=1e20)
    rounder = read_splats(tmp_path / "a.ply", thinnest=1.0).mixture.covariances
    assert_close("sum", rounder, np.broadcast_to(np.eye(3), (6, 3, 3)), size=16)
    for thinnest in (0.0, 2.0, float("nan")):
        with pytest.raises(ArgumentError, match="thinnest"):
            read_splats(tmp_path / "a.ply", thinnest=thinnest)


def test_extreme_opacities_are_read_and_an_opacity_of_0_is_absent(tmp_path):
    table = vertices() | {"opacity": np.float32([-np.inf, -1000, np.inf, 1000, 40, 0])}
    splats = scene(tmp_path / "a.ply", table)
    np.testing.assert_array_equal(splats.mixture.weights == 0, [1, 1, 0, 0, 0, 0])
    write_splats(tmp_path / "b.ply", splats)
    again = read_splats(tmp_path / "b.ply")
    assert_close("solve", again.opacity.astype("float32"), np.array([1, 1, 1, 0.5]), condition=1e3)
    np.testing.assert_array_equal(again.harmonics, splats.harmonics[2:])
    np.testing.assert_array_equal(again.extras["nx"], splats.extras["nx"][2:])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"x": np.nan}, "x of splat 0 is nan"),
        ({"opacity": np.nan}, "weight of component"),
        ({"scale_1": 101.0}, "scales of splat 0 are"),
        ({"scale_1": -np.inf}, "scale_1 of splat 0 is -inf"),
        ({f"rot_{i}": 0.0 for i in range(4)}, "rotation of splat 0 is 0"),
        ({"rot_2": None}, "no number 'rot_2'"),
        ({"f_rest_0": None}, "f_rest"),
        ({"f_rest_9": 0.0}, "got 13"),
        ({"f_dc_1": None}, "f_dc"),
    ],
)
def test_a_damaged_scene_is_named_with_the_reason(tmp_path, change, reason):
    table = vertices()
    for name, value in change.items():
        if value is None:
            del table[name]
        else:
            table.setdefault(name, np.zeros(6, np.float32))[0] = value
    with pytest.raises(FileFormatError, match=rf"^{tmp_path}/a\.ply: .*{reason}"):
        scene(tmp_path / "a.ply", table)


def test_lists_where_numbers_belong_and_files_without_splats_are_refused(tmp_path):
    with pytest.raises(FileFormatError, match="no number 'x'"):
        scene(tmp_path / "a.ply", vertices() | {"x": np.zeros((6, 2), np.float32)})
    with pytest.raises(FileFormatError, match="lists"):
        scene(tmp_path / "a.ply", vertices() | {"f_dc_0": np.zeros((6, 2), np.float32)})
    write_ply(tmp_path / "b.ply", {"face": {"x": np.zeros(2)}})
    with pytest.raises(FileFormatError, match="no number 'x'"):
        read_splats(tmp_path / "b.ply")


@given(st.integers(0, 700), st.binary(min_size=1, max_size=8))
def test_scenes_with_random_bytes_are_read_or_refused(tmp_path_factory, at, put):
    file = tmp_path_factory.getbasetemp() / "fuzz.ply"
    write_ply(file, {"vertex": vertices()})
    data = file.read_bytes()
    start = data.index(b"end_header") + 11 + at % (6 * 26 * 4)
    file.write_bytes(data[:start] + put + data[start + len(put) :])
    assert complaint(file).startswith(f"{file}: ")


def complaint(file):
    """Return what the reader says of the file; any other exception comes through."""
    try:
        return f"{file}: {read_splats(file).mixture.check()!r}"
    except FileFormatError as error:
        return str(error)


def test_an_empty_scene_is_a_scene(tmp_path):
    splats = scene(tmp_path / "a.ply", vertices(n=0))
    assert splats.mixture.n_components == 0
    assert write_splats(tmp_path / "b.ply", splats, normalise=True) == 1.0
    assert read_splats(tmp_path / "b.ply").harmonics.shape == (0, 4, 3)


def test_a_mixture_without_colours_is_gray_and_absent_components_are_left_out(tmp_path):
    m = random_mixture(2, (), 9, 3, signed=False, absent=0.5)
    write_splats(tmp_path / "m.ply", m, normalise=True)
    found = read_splats(tmp_path / "m.ply")
    np.testing.assert_array_equal(found.colours, np.full((np.count_nonzero(m.weights), 3), 0.5))
    assert Splats(m).colours is None


def test_what_is_no_scene_is_refused_by_the_index_of_the_component(tmp_path):
    file = tmp_path / "m.ply"
    ball = Mixture.isotropic(np.array([0.0, 1.0, 15.0, 16.0]), np.zeros((4, 3)), sigma=1.0)
    with pytest.raises(ArgumentError, match=r"component 3 has the amplitude 1\.01"):
        write_splats(file, ball)
    with pytest.raises(ArgumentError, match="component 2 has the weight -15, below 0"):
        write_splats(file, Mixture(ball.weights * [1, 1, -1, 1], ball.means, ball.covariances))
    with pytest.raises(NonFiniteError, match="x of component 1 is beyond float32"):
        write_splats(file, Mixture(ball.weights, ball.means + 1e39, ball.covariances), normalise=True)
    for m in (random_mixture(0, (), 3, 2), random_mixture(0, (1,), 3, 3)):
        with pytest.raises(ShapeError, match="one 3-D mixture"):
            write_splats(file, m)
    assert list(tmp_path.iterdir()) == []
    for harmonics in (np.zeros((4, 3)), np.zeros((3, 1, 3)), np.zeros((4, 2, 3)), np.zeros((4, 0, 3))):
        with pytest.raises(ShapeError, match="harmonics"):
            Splats(ball, harmonics)
    with pytest.raises(ShapeError, match="label"):
        Splats(ball, None, {"label": np.zeros(3)})
    with pytest.raises(ArgumentError, match="'opacity' follows"):
        Splats(ball, None, {"opacity": np.zeros(4)})
