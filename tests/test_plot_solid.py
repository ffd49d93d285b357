"""Pictures in space: ellipsoids, points, and objects beside their fits."""

import io

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pytest
from matplotlib.collections import Collection
from matplotlib.figure import Figure

import gmengine as gm
from gmengine import plot
from gmengine.errors import ArgumentError, BackendError, NotPositiveDefinite, ShapeError
from gmengine.fitting.clouds import Clouds
from gmengine.plot import _matplotlib, solid
from gmengine.testing.tolerances import tolerance

SUM = tolerance("sum", "float64", 100)
COVARIANCES = np.array([[[4.0, 1.0, 0.0], [1.0, 2.0, 0.3], [0.0, 0.3, 1.0]], np.eye(3), np.zeros((3, 3))])
MIXTURE = gm.Mixture(
    np.array([2.0, 1.0, 0.0]), np.array([[1.0, 2.0, 3.0], [5.0, 0, 0], [99.0, 0, 0]]), COVARIANCES
)


def axes3d():
    return Figure().add_subplot(projection="3d")


def hue(colour):
    """What brightness does not change: red, green and blue relative to their sum, in hundredths."""
    rgb = np.asarray(colour)[:3]
    return tuple(np.rint(100 * rgb / rgb.sum()).astype(int).tolist())


def hues(drawn):
    return [hue(colour) for colour in drawn.get_facecolor()]


def test_the_corners_of_facets_lie_on_the_ellipsoids():
    m = gm.Mixture(*(a[:2] for a in MIXTURE.arrays))
    facets, brightness = solid._facets(m, 1.5, 6, np.array([0.0, 0.0, 1.0]))
    assert facets.shape == (2, 72, 4, 3)
    d = facets - m.means[:, None, None]
    squares = np.einsum("nfci,nij,nfcj->nfc", d, np.linalg.inv(m.covariances), d)
    np.testing.assert_allclose(squares, 2.25, rtol=SUM)
    heights = d.mean(-2)[..., 2]
    for bright, height in zip(brightness, heights, strict=True):
        assert bright[height.argmax()] > bright[height.argmin()]
    assert brightness.max() <= 1.0


def test_normals_are_perpendicular_to_the_facets():
    m = gm.Mixture(*(a[:1] for a in MIXTURE.arrays))
    for axis in np.eye(3):
        facets, brightness = solid._facets(m, 1.0, 24, axis)
        normals = np.cross(facets[..., 2, :] - facets[..., 0, :], facets[..., 3, :] - facets[..., 1, :])
        normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
        lit = 0.4 + 0.6 * np.maximum(normals @ axis, 0.0)
        outwards = 0.4 + 0.6 * np.maximum(-normals @ axis, 0.0)
        sign = np.sign(np.sum(normals * (facets.mean(-2) - m.means[:, None]), -1))
        want = np.where(sign > 0, lit, outwards)
        assert np.abs(brightness - want).max() < (np.pi / 24) ** 2  # facets are flat, the ellipsoid is not


def test_each_present_component_is_drawn_in_the_colour_of_its_weight():
    axes = axes3d()
    drawn = plot.ellipsoids(axes, MIXTURE, detail=4)
    assert sorted(hues(drawn)) == sorted([hue(matplotlib.cm.viridis(share)) for share in (1.0, 0.5)] * 32)
    assert axes.get_xlim()[1] < 20  # the absent component at 99 is not in the picture
    sides = [np.diff(getattr(axes, f"get_{name}lim")())[0] for name in "xyz"]
    np.testing.assert_allclose(sides, sides[0], rtol=SUM)
    with_negative = gm.Mixture(MIXTURE.weights * [1, -1, 1], MIXTURE.means, MIXTURE.covariances)
    red_and_blue = [hue(matplotlib.cm.RdBu_r(share)) for share in (1.0, 0.25)] * 32
    assert sorted(hues(plot.ellipsoids(axes3d(), with_negative, detail=4))) == sorted(red_and_blue)
    assert len(plot.ellipsoids(axes3d(), 0.0 * MIXTURE).get_facecolor()) == 0


@pytest.mark.parametrize("up", ["x", "y", "z"])
def test_points_in_front_are_darker_and_the_view_is_that_of_matplotlib(up):
    axes = axes3d()
    towards = solid._direction(solid._ELEVATION, solid._AZIMUTH, up)
    points = np.array([towards, -towards, np.zeros(3)])
    drawn = plot.cloud(axes, points, up=up)
    assert Collection.get_facecolor(drawn)[:, :3].sum(1).argsort().tolist() == [0, 2, 1]
    axes.get_proj()
    np.testing.assert_allclose(np.asarray(axes._view_w), towards, rtol=SUM, atol=SUM)


def test_a_comparison_has_a_row_for_each_object():
    images = np.random.default_rng(0).random((2, 4, 5))
    m = gm.fitting.fit_images(images, 3)
    figure = plot.comparison(images, {"one": m, "two": m.astype("float32")}, names=["a", "b"])
    assert len(figure.axes) == 2 * 5
    assert [axes.get_title() for axes in figure.axes[:5]] == [
        "image",
        "one",
        "its density",
        "two",
        "its density",
    ]
    assert [text.get_text() for text in figure.texts] == ["a", "b"]
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), images[0])
    drawn = figure.axes[2].images[0]
    assert drawn.get_array().shape == (16, 20)
    assert drawn.get_clim() == figure.axes[0].images[0].get_clim()
    clouds = Clouds.pack([np.random.default_rng(1).random((9, 3)), np.zeros((0, 3))])
    two = gm.Mixture(*(np.stack([a, 0.0 * a]) for a in MIXTURE.arrays))
    figure = plot.comparison(clouds, {"ellipsoids": two}, up="y")
    assert [axes.get_title() for axes in figure.axes] == ["9 points", "ellipsoids", "", ""]
    figure.savefig(io.BytesIO(), format="png", dpi=20)


def test_pictures_of_what_does_not_fit_together_are_refused():
    images, m = np.ones((2, 4, 4)), gm.fitting.fit_images(np.ones((2, 4, 4)), 2)
    with pytest.raises(ShapeError, match="in 2-D"):
        plot.comparison(images[:1], {"fit": m})
    with pytest.raises(ShapeError, match="3 names"):
        plot.comparison(images, {"fit": m}, names=["a", "b", "c"])
    with pytest.raises(ShapeError, match="images"):
        plot.comparison(images[0], {"fit": m})
    with pytest.raises(ShapeError, match="Clouds in 3-D"):
        plot.comparison(Clouds.pack([np.ones((4, 2))]), {"fit": m[:1]})
    with pytest.raises(ArgumentError, match="at least one"):
        plot.comparison(images, {})
    with pytest.raises(ShapeError, match="in 2-D"):
        plot.ellipsoids(axes3d(), m[0])
    with pytest.raises(NotPositiveDefinite):
        plot.ellipsoids(axes3d(), gm.Mixture(MIXTURE.weights, MIXTURE.means, -COVARIANCES))
    with pytest.raises(ShapeError, match=r"\(P, 3\)"):
        plot.cloud(axes3d(), np.zeros((4, 2)))
    with pytest.raises(ArgumentError, match="up"):
        plot.cloud(axes3d(), np.zeros((4, 3)), up="w")


def test_a_missing_matplotlib_is_mended_by_one_command(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(_matplotlib, "import_module", missing)
    with pytest.raises(BackendError, match=r"pip install 'gmengine\[plot\]'"):
        plot.comparison(np.ones((1, 4, 4)), {"fit": gm.fitting.fit_images(np.ones((1, 4, 4)), 2)})
