"""Random variations of samples: what they keep, what they draw, and that nothing but the declared happens."""

import json
import math
from dataclasses import asdict, replace

import array_api_strict
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

import gmengine as gm
from gmengine.data import Augmentation, augmented, random_linear
from gmengine.data._random_maps import random_maps
from gmengine.errors import ArgumentError
from gmengine.testing import assert_close
from gmengine.testing.strategies import random_mixture, seeds

ALL = Augmentation(
    linear=0.1, rotation="full", axis="all", scale=0.3, shift=0.2, reflect="xy", drop=0.2, jitter=0.3
)
MOVES = replace(ALL, drop=0.0, jitter=0.0)
augmentations = st.builds(
    Augmentation,
    linear=st.sampled_from([0.0, 0.1]),
    rotation=st.sampled_from([0.0, 0.5, "full"]),
    axis=st.sampled_from(Augmentation.AXES),
    scale=st.sampled_from([0.0, 0.4]),
    shift=st.sampled_from([0.0, 0.3]),
    reflect=st.sampled_from(["", "x", "yx"]),
    drop=st.sampled_from([0.0, 0.3]),
    jitter=st.sampled_from([0.0, 0.5]),
)


def same_samples(count=200, n=4, dim=2, channels=1):
    """Return one sample `count` times over."""
    one = random_mixture(5, (1, channels), n, dim)
    return one.broadcast_to((count, channels))


def fitted_map(before, after):
    """Return A (B, K, K) and t (B, K) with after = A before + t, by least squares over a sample's means."""
    maps, shifts = [], []
    for old, new in zip(before, after, strict=True):
        x = np.concatenate([old.reshape(-1, old.shape[-1]), np.ones((old[..., 0].size, 1))], axis=1)
        found = np.linalg.lstsq(x, new.reshape(-1, old.shape[-1]), rcond=None)[0]
        maps.append(found[:-1].T)
        shifts.append(found[-1])
    return np.array(maps), np.array(shifts)


@given(seeds, augmentations, st.sampled_from([2, 3]))
def test_values_move_with_an_affine_map_that_channels_share(seed, augmentation, dim):
    augmentation = replace(augmentation, drop=0.0, jitter=0.0)
    m = random_mixture(seed, (3, 2), 6, dim)
    moved = augmented(m, augmentation, rng=seed)
    A, t = fitted_map(m.means, moved.means)
    x = np.random.default_rng(1).standard_normal((3, 1, 7, dim))
    there = np.einsum("bij,bcpj->bcpi", A, x) + t[:, None, None]
    got = gm.evaluate(moved, there) * np.abs(np.linalg.det(A))[:, None, None]
    # the least squares lose digits with the condition of the means, not of the covariances
    assert_close("solve", got, gm.evaluate(m, x), size=6, condition=1e10)
    assert_close("exact", moved.weights, m.weights)


@given(seeds, augmentations, st.sampled_from([2, 3]), st.sampled_from(["float32", "float64"]))
def test_what_comes_out_is_a_mixture_of_the_same_kind(seed, augmentation, dim, dtype):
    m = random_mixture(seed, (3, 2), 6, dim, absent=0.4, dtype=dtype)
    before = [a.copy() for a in m.arrays]
    one, two = augmented(m, augmentation, rng=seed), augmented(m, augmentation, rng=seed)
    assert one.check().dtype == m.dtype
    assert_close("exact", one.covariances, np.swapaxes(one.covariances, -1, -2))
    assert not one.weights[m.weights == 0].any()
    for a, b, original, kept in zip(one.arrays, two.arrays, m.arrays, before, strict=True):
        assert_close("exact", a, b)
        assert_close("exact", original, kept)


@given(seeds, augmentations)
def test_the_array_standard_is_enough_for_augmentation(seed, augmentation):
    m = random_mixture(seed, (3, 2), 6, 3, absent=0.3)
    strict = gm.Mixture(*(array_api_strict.asarray(a) for a in m.arrays))
    want = augmented(m, augmentation, rng=seed)
    for got, a in zip(augmented(strict, augmentation, rng=seed).arrays, want.arrays, strict=True):
        assert_close("sum", np.from_dlpack(got), a, size=16)


def test_linear_alone_is_random_linear_and_draws_nothing_else():
    m = random_mixture(0, (4, 2), 5, 3)
    one, two = np.random.default_rng(3), np.random.default_rng(3)
    for a, b in zip(
        augmented(m, Augmentation(linear=0.1), rng=one).arrays,
        random_linear(m, 0.1, rng=two).arrays,
        strict=True,
    ):
        assert_close("exact", a, b)
    assert one.random() == two.random()
    maps = np.eye(3) + 0.1 * np.random.default_rng(3).standard_normal((4, 3, 3))
    want = (maps[:, None, None] @ m.means[..., None])[..., 0]
    assert_close("exact", augmented(m, Augmentation(linear=0.1), rng=3).means, want)
    assert augmented(m, Augmentation(), rng=one) is m
    assert one.random() == two.random()


def test_every_sample_has_a_map_of_its_own():
    maps, shifts = fitted_map(same_samples().means, augmented(same_samples(), MOVES, rng=0).means)
    assert len(np.unique(maps[:, 0, 0])) == len(np.unique(shifts[:, 0])) == 200


@pytest.mark.parametrize("dim", [2, 3])
def test_rotations_turn_no_further_than_asked_and_use_the_whole_range(dim):
    for axis in Augmentation.AXES:
        maps, _ = random_maps(Augmentation(rotation=0.5, axis=axis), 400, dim, np.random.default_rng(0))
        assert_close("sum", maps @ np.swapaxes(maps, 1, 2), np.broadcast_to(np.eye(dim), maps.shape), size=16)
        assert_close("sum", np.linalg.det(maps), np.ones(400), size=16)
        full = np.tile(np.eye(3), (400, 1, 1))
        full[:, :dim, :dim] = maps
        turns = Rotation.from_matrix(full).as_rotvec()
        angles = np.linalg.norm(turns, axis=1)
        assert 0.45 < angles.max() < 0.5
        if dim == 3 and axis != "all":
            others = np.delete(turns, "xyz".index(axis), axis=1)
            assert_close("sum", others, np.zeros((400, 2)), size=16, scale=1.0)
            assert (turns.min() < -0.4) & (turns.max() > 0.4)


def test_full_rotations_are_equally_likely():
    for axis in ("all", "z"):
        maps, _ = random_maps(Augmentation(rotation="full", axis=axis), 4000, 3, np.random.default_rng(0))
        spread = 4 / math.sqrt(4000)
        free = np.ones((3, 3), bool) if axis == "all" else np.pad(np.ones((2, 2), bool), (0, 1))
        assert np.abs(maps.mean(axis=0)[free]).max() < spread
        share = 1 / 3 if axis == "all" else 1 / 2
        assert np.abs((maps**2).mean(axis=0)[free] - share).max() < spread
        assert_close("sum", maps[:, ~free], np.broadcast_to(np.eye(3)[~free], maps[:, ~free].shape), size=16)


def test_scales_and_reflections_are_drawn_as_declared():
    maps, shifts = random_maps(Augmentation(scale=0.5, reflect="zx"), 400, 3, np.random.default_rng(0))
    assert shifts is None
    sizes, signs = np.abs(maps), np.sign(np.diagonal(maps, axis1=1, axis2=2))
    assert_close("exact", sizes, sizes[:, :1, :1] * np.eye(3))
    factors = sizes[:, 0, 0]
    assert 1 / 1.5 < factors.min() < 0.7 < 1.4 < factors.max() < 1.5
    assert_close("exact", signs[:, 1], np.ones(400))
    counts = {tuple(s) for s in signs[:, ::2]}
    assert len(counts) == 4
    assert np.abs(signs[:, ::2].mean(axis=0)).max() < 4 / math.sqrt(400)


def test_shifts_are_relative_to_the_extent_of_the_mass_alone():
    m = same_samples(channels=2)
    _, t = fitted_map(m.means, augmented(m, Augmentation(shift=0.2), rng=0).means)
    share = np.abs(m.weights[0]) / np.abs(m.weights[0]).sum()
    points = m.means[0]
    centre = np.einsum("cn,cnk->k", share, points)
    second = np.einsum("cn,cnij->ij", share, m.covariances[0])
    second = second + np.einsum("cn,cni,cnj->ij", share, points - centre, points - centre)
    extent = np.sqrt(np.trace(second) / 2)
    assert 0.19 * extent < np.abs(t).max() < 0.2 * extent
    larger = gm.Mixture(m.weights, 1e3 * m.means, 1e6 * m.covariances)
    _, far = fitted_map(larger.means, augmented(larger, Augmentation(shift=0.2), rng=0).means)
    assert_close("solve", far, 1e3 * t, condition=1e6)
    w, mu, cov = (a.copy() for a in m.arrays)
    w[..., 0], mu[..., 0, :], cov[..., 0, :, :] = 0.0, 3e200, 0.0
    garbage = augmented(gm.Mixture(w, mu, cov), Augmentation(shift=0.2), rng=0)
    mu[..., 0, :] = -7.0
    clean = augmented(gm.Mixture(w, mu, cov), Augmentation(shift=0.2), rng=0)
    assert_close("exact", garbage.means[..., 1:, :], clean.means[..., 1:, :])


def test_dropped_components_are_absent_and_integrals_stay_on_average():
    m = random_mixture(1, (1, 1), 20, 2, signed=False, absent=0.3).broadcast_to((2000, 1))
    thin = augmented(m, Augmentation(drop=0.25), rng=0)
    dropped = (thin.weights == 0) & (m.weights != 0)
    assert abs(dropped[m.weights != 0].mean() - 0.25) < 4 / math.sqrt(dropped.sum())
    rest = thin.weights != 0
    assert_close("elementwise", thin.weights[rest], m.weights[rest] / 0.75)
    whole = float(gm.integrate(m)[0, 0])
    assert abs(gm.integrate(thin).mean() / whole - 1) < 4 / math.sqrt(2000)
    assert_close("exact", thin.means, m.means)


def test_a_mixture_never_loses_all_its_components():
    m = same_samples(n=2)
    thin = augmented(m, Augmentation(drop=0.9), rng=0)
    kept = (thin.weights != 0).sum(axis=-1)
    assert set(np.unique(kept)) == {1, 2}
    whole = (thin.weights == m.weights).all(axis=-1)
    assert 0.7 < whole.mean() < 0.9  # 0.81 lose both, and keep both as they are
    empty = gm.Mixture(0 * m.weights, m.means, m.covariances)
    assert not augmented(empty, ALL, rng=0).weights.any()


def test_jitter_keeps_signs_and_integrals_on_average():
    m = same_samples(count=4000)
    varied = augmented(m, Augmentation(jitter=0.3), rng=0)
    ratio = varied.weights / m.weights
    assert ratio.min() > 0
    assert abs(np.log(ratio).std() - 0.3) < 0.3 * 4 / math.sqrt(ratio.size)
    assert abs(ratio.mean() - 1) < 4 * 0.3 / math.sqrt(ratio.size)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"linear": 0.5}, r"linear: expected a number in \[0, 0.3\], got 0.5"),
        ({"rotation": 4}, "rotation: .* or 'full', got 4"),
        ({"rotation": "half"}, "rotation: .*'half'"),
        ({"scale": float("nan")}, "scale"),
        ({"shift": -0.1}, "shift"),
        ({"drop": 1.0}, "drop"),
        ({"drop": True}, "drop"),
        ({"jitter": "a"}, "jitter"),
        ({"axis": "w"}, "axis: expected one of x, y, z, all, got 'w'"),
        ({"axis": []}, "axis"),
        ({"reflect": "xx"}, "reflect"),
        ({"reflect": "w"}, "reflect"),
        ({"reflect": 1}, "reflect"),
    ],
)
def test_an_impossible_augmentation_is_refused_by_its_field(fields, reason):
    with pytest.raises(ArgumentError, match=reason):
        Augmentation(**fields)


def test_an_augmentation_must_go_with_the_dimension():
    for dim, fields, reason in [
        (1, {"rotation": 0.1}, "rotation: expected 2-D or 3-D"),
        (4, {"rotation": 0.1}, "rotation: expected 2-D or 3-D"),
        (2, {"reflect": "z"}, "2-D mixtures have no axis z"),
    ]:
        with pytest.raises(ArgumentError, match=reason):
            augmented(random_mixture(0, (2,), 3, dim), Augmentation(**fields))
    with pytest.raises(ArgumentError, match="batch"):
        augmented(random_mixture(0, (), 3, 2), ALL)
    general = Augmentation(linear=0.1, scale=0.1, shift=0.1, drop=0.1, jitter=0.1)
    for dim in (1, 4):
        assert augmented(random_mixture(0, (2, 1), 3, dim), general, rng=0).check().dim == dim


def test_json_brings_an_augmentation_back():
    assert Augmentation(**json.loads(json.dumps(asdict(ALL)))) == ALL
