"""The quality report, beside plain loops and scipy."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import dblquad
from scipy.spatial import cKDTree
from scipy.stats import multivariate_normal

import gmengine as gm
from gmengine.cpu import _threads
from gmengine.cpu._nearest import nearest
from gmengine.errors import ArgumentError, NonFiniteError, NotPositiveDefinite, ShapeError
from gmengine.fitting import _likelihood
from gmengine.fitting.clouds import Clouds
from gmengine.fitting.quality import image_quality, quality
from gmengine.testing.strategies import random_mixture
from gmengine.testing.tolerances import tolerance

SUM = tolerance("sum", "float64", 200)
SOLVE = tolerance("solve", "float64", 200, 1e3)


def positive(seed, batch, n, dim):
    m = random_mixture(seed, batch, n, dim)
    return gm.Mixture(np.abs(m.weights) + 0.1, m.means, m.covariances)


def log_likelihood(m, points, masses):
    """By scipy's densities, one component after the other."""
    present = np.flatnonzero(m.weights)
    terms = [
        np.log(m.weights[s] / m.weights.sum())
        + multivariate_normal(m.means[s], m.covariances[s]).logpdf(points)
        for s in present
    ]
    return float(masses @ np.logaddexp.reduce(np.reshape(terms, (len(present), -1)), axis=0) / masses.sum())


def test_the_log_likelihood_is_that_of_scipy(monkeypatch):
    rng = np.random.default_rng(0)
    m = positive(1, (3,), 5, 2)
    m.weights[0, 2] = 0.0
    m.covariances[0, 2] = 0.0  # absent: never read
    points, masses = rng.standard_normal((3, 20, 2)), rng.random((3, 20))
    masses[1, :7] = 0.0
    want = [log_likelihood(*sample) for sample in zip(m, points, masses, strict=True)]
    report = quality(m, points, masses, samples=0)
    np.testing.assert_allclose(report.log_likelihood, want, rtol=SOLVE, atol=SOLVE)
    assert report.reconstruction is None
    scaled = quality(7.5 * m, points, 3.0 * masses, samples=0)  # neither scale counts
    np.testing.assert_allclose(scaled.log_likelihood, want, rtol=SOLVE, atol=SOLVE)
    monkeypatch.setattr(_likelihood, "_PAIRS", 12)
    np.testing.assert_allclose(
        quality(m, points, masses, samples=0).log_likelihood, want, rtol=SOLVE, atol=SOLVE
    )


def test_all_layouts_of_points_give_the_same_report():
    rng = np.random.default_rng(2)
    m = positive(3, (2,), 3, 3)
    sets, masses = [rng.standard_normal((n, 3)) for n in (9, 9)], [rng.random(9) for _ in range(2)]
    clouds = Clouds.pack(sets)
    layouts = [
        (np.stack(sets), np.stack(masses)),
        (clouds, np.concatenate(masses)),
        (sets, masses),
        (np.stack(sets).astype("float32").astype("float64"), np.stack(masses)),
    ]
    reports = [quality(m, *layout, samples=50).to_json() for layout in layouts]
    assert reports[0] == reports[1] == reports[2] != reports[3]
    one = quality(m[0], sets[0], masses[0], samples=50)
    assert len(one) == 1
    assert one.log_likelihood[0] == quality(m, *layouts[0], samples=50).log_likelihood[0]
    ragged = quality(m, [sets[0], sets[1][:4]], samples=20)
    assert ragged.log_likelihood[1] == quality(m[1], sets[1][:4], samples=0).log_likelihood[0]


def test_where_the_density_underflows_the_log_likelihood_does_not():
    m = gm.Mixture.isotropic([1.0], [[0.0, 0.0]], 1e-3)
    found = quality(m, np.array([[3.0, 4.0]]), samples=0).log_likelihood[0]
    want = -0.5 * 25e6 - math.log(2 * math.pi * 1e-6)
    np.testing.assert_allclose(found, want, rtol=SUM)


def test_samples_without_mass_or_without_components_are_counted_and_left_out():
    m = gm.Mixture.isotropic([[1.0], [1.0], [0.0]], np.zeros((3, 1, 2)), 1.0)
    masses = np.array([[1.0], [0.0], [1.0]])
    report = quality(m, np.zeros((3, 1, 2)), masses, samples=5)
    np.testing.assert_array_equal(report.log_likelihood[1:], [np.nan, -np.inf])
    row = report.summary()["log_likelihood"]
    assert (row["not_finite"], row["mean"]) == (2, report.log_likelihood[0])
    assert "2" in str(report).splitlines()[2].split()
    np.testing.assert_array_equal(np.isnan(report.reconstruction.rmsd), [False, True, True])
    np.testing.assert_array_equal(report.components.live, [1, 1, 0])
    content = json.loads(report.to_json())
    assert content["measures"]["log_likelihood"][1:] == ["NaN", "-Infinity"]
    nothing = quality(m[2:], np.zeros((1, 1, 2)), samples=0).summary()["log_likelihood"]
    assert math.isnan(nothing["mean"])


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_nearest_neighbours_are_those_of_all_pairs(seed, dim):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(0, 12, (2, 3))
    sizes[0, 1] = 300  # more than one block of queries
    draw = rng.standard_normal if seed % 2 else lambda shape: rng.integers(0, 3, shape).astype(float)
    x, y = (draw((n.sum(), dim)) for n in sizes)
    a, b = (np.cumsum([0, *n]) for n in sizes)
    distances, indices = nearest(x, a, y, b)
    for s in range(3):
        near, far = x[a[s] : a[s + 1]], y[b[s] : b[s + 1]]
        got = distances[a[s] : a[s + 1]], indices[a[s] : a[s + 1]]
        if not len(far):
            assert (got[0] == np.inf).all()
            assert (got[1] == -1).all()
            continue
        squares = ((near[:, None] - far) ** 2).sum(-1)
        np.testing.assert_allclose(got[0], np.sqrt(squares.min(1)), rtol=SUM, atol=SUM)
        if seed % 2 == 0:  # whole numbers: ties are exact, and go to the lowest index
            np.testing.assert_array_equal(got[1], squares.argmin(1))


def test_nearest_neighbours_do_not_depend_on_the_number_of_threads(monkeypatch):
    rng = np.random.default_rng(5)
    x, y = rng.random((2000, 3)), rng.random((1500, 3))
    offsets = np.array([0, 2000]), np.array([0, 1500])
    found = []
    for count in (1, 3):
        monkeypatch.setattr(_threads, "get_num_threads", lambda count=count: count)
        found.append(nearest(x, offsets[0], y, offsets[1]))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_allclose(found[0][0], cKDTree(y).query(x)[0], rtol=SUM)


def test_reconstruction_distances_are_those_of_their_definitions():
    rng = np.random.default_rng(6)
    m, x, v = positive(7, (), 4, 3), rng.standard_normal((30, 3)), rng.random(30)
    v[:5] = 0.0
    found = quality(m, x, v, rng=8, samples=200).reconstruction
    y = gm.sample(m, 200, np.random.default_rng(8))
    x, v = x[5:], v[5:] / v.sum()
    gaps = np.sqrt(((y[:, None] - x) ** 2).sum(-1))
    out, back = gaps.min(1), gaps.min(0)
    rmsd = math.sqrt(np.mean(out**2))
    want = {
        "rmsd": rmsd,
        "rmsd_back": math.sqrt(v @ back**2),
        "mean": out.mean(),
        "mean_back": v @ back,
        "hausdorff": max(out.max(), back.max()),
        "chamfer": out.mean() + v @ back,
        "coverage": sum(v[i] for i in set(gaps.argmin(1).tolist())),
        "psnr": 20 * math.log10(math.dist(x.max(0), x.min(0)) / rmsd),
    }
    for name, value in want.items():
        np.testing.assert_allclose(getattr(found, name), [value], rtol=SUM, err_msg=name)


def test_component_statistics_are_those_of_their_definitions():
    covariances = np.array([np.diag([1.0, 4.0, 16.0]), np.diag([9.0, 9.0, 9.0]), np.zeros((3, 3))])
    m = gm.Mixture(np.array([3.0, 1.0, 0.0]), np.zeros((3, 3)), covariances)
    found = quality(m, np.ones((4, 3)), samples=0).components
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    np.testing.assert_array_equal(found.live, [2])
    for name, value in {
        "smallest_share": [0.25],
        "largest_share": [0.75],
        "entropy": [entropy],
        "condition": [16.0],
        "eigenvalue_ratios": [[0.25, 0.5]],
        "smallest_sigma": [1.0],
        "largest_sigma": [4.0],
    }.items():
        np.testing.assert_allclose(getattr(found, name), value, rtol=SUM, err_msg=name)


def test_the_likelihood_of_an_image_is_the_integral_over_its_pixels():
    m = positive(9, (), 2, 2)
    m = gm.Mixture(m.weights, 0.5 * m.means, m.covariances + 3.0 * np.eye(2))  # smooth on the scale of pixels
    image = np.array([[0.0, 2.0, 0.0], [1.0, 0.0, 0.5]])
    f = [multivariate_normal(mean, cov) for mean, cov in zip(m.means, m.covariances, strict=True)]
    p = m.weights / m.weights.sum()

    def log_density(y, x):
        return math.log(sum(w * g.pdf((x, y)) for w, g in zip(p, f, strict=True)))

    total = sum(
        image[r, c] * dblquad(log_density, c - 0.5, c + 0.5, r - 0.5, r + 0.5)[0]
        for r, c in zip(*np.nonzero(image), strict=True)
    )
    found = image_quality(m, image).log_likelihood
    np.testing.assert_allclose(found, [total / image.sum()], rtol=tolerance("quadrature", "float32"))


def test_image_errors_are_those_of_the_values_at_pixel_centres():
    rng = np.random.default_rng(10)
    images = rng.random((3, 5, 7)) * (rng.random((3, 5, 7)) < 0.5)
    images[2] = 0.0
    m = gm.fitting.fit_images(images, 6)
    report = image_quality(2.0 * m, images)
    rows, columns = np.indices((5, 7))
    values = gm.evaluate(m, np.stack([columns.ravel(), rows.ravel()], -1).astype(float)).reshape(3, 5, 7)
    rmse = np.sqrt(((values - images) ** 2).mean((1, 2)))
    np.testing.assert_allclose(report.image.rmse, rmse, rtol=SOLVE)
    assert report.image.data_range == images.max()
    np.testing.assert_allclose(report.image.psnr[:2], 20 * np.log10(images.max() / rmse[:2]), rtol=SOLVE)
    assert (report.image.rmse[2], report.image.psnr[2]) == (0.0, np.inf)
    assert report.summary()["image.psnr"]["not_finite"] == 1
    louder = image_quality(m[0], images[0], data_range=10.0 * images.max())
    np.testing.assert_allclose(louder.image.psnr, report.image.psnr[:1] + 20.0, rtol=SUM)
    bits = image_quality(gm.fitting.fit_images(images > 0, 6), images > 0)
    assert bits.image.data_range == 1.0


def test_the_table_and_the_json_say_what_measures_depend_on():
    m = positive(11, (2,), 3, 2)
    report = quality(m, np.random.default_rng(0).random((2, 10, 2)), samples=40)
    lines = str(report).splitlines()
    assert lines[0] == "2 mixtures, reconstruction.samples = 40"
    assert lines[1].split() == ["mean", "median", "min", "max", "not_finite"]
    names = [name for name, _ in report.measures()]
    assert [line.split()[0] for line in lines[2:]] == names
    assert {"log_likelihood", "reconstruction.chamfer", "components.eigenvalue_ratios[0]"} <= set(names)
    content = json.loads(report.to_json())
    assert content["constants"] == {"reconstruction.samples": 40}
    assert content["measures"]["reconstruction.chamfer"] == report.reconstruction.chamfer.tolist()


M = positive(12, (2,), 3, 2)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((M, np.zeros((3, 4, 2))), ShapeError, r"batch \(3,\) in 2-D"),
        ((M, np.zeros((2, 4, 3))), ShapeError, "3-D"),
        ((M, np.zeros(4)), ShapeError, r"\(P, K\)"),
        ((M, np.zeros((2, 4, 2)), np.ones((2, 3))), ShapeError, r"weights \(2, 4\)"),
        ((M, [np.zeros((4, 2))] * 2, [np.ones(4), np.ones(3)]), ShapeError, r"sizes \(4, 3\)"),
        ((M, np.zeros((2, 4, 2)), -np.ones((2, 4))), ArgumentError, r"weights\[0, 0\] = -1"),
        ((M, np.full((2, 4, 2), np.nan)), NonFiniteError, "points"),
        ((-M, np.zeros((2, 4, 2))), ArgumentError, "weights >= 0"),
        (
            (gm.Mixture(M.weights, M.means, -M.covariances), np.zeros((2, 4, 2))),
            NotPositiveDefinite,
            "covariance",
        ),
    ],
)
def test_what_a_report_cannot_be_made_of_is_named(arguments, error, text):
    with pytest.raises(error, match=text):
        quality(*arguments)


def test_images_and_ranges_that_do_not_fit_are_named():
    with pytest.raises(ShapeError, match="images"):
        image_quality(M, np.zeros((4, 4)))
    with pytest.raises(ArgumentError, match="data_range"):
        image_quality(M, np.ones((2, 4, 4)), data_range=0.0)
    with pytest.raises(ArgumentError, match=r"images\[0, 0, 0\]"):
        image_quality(M, -np.ones((2, 4, 4)))
    with pytest.raises(ArgumentError, match="samples"):
        quality(M, np.zeros((2, 4, 2)), samples=-1)
