"""Pictures: the right things are drawn in the right places."""

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pytest
from matplotlib.figure import Figure

import gmengine as gm
from gmengine import plot
from gmengine.errors import NotPositiveDefinite, ShapeError

MIXTURE = gm.Mixture.isotropic([2.0, -1.0, 0.0], [[0.0, 0.0], [4.0, 1.0], [99.0, 99.0]], 0.5)


def test_the_box_holds_the_present_components_only():
    assert plot.bounding_box(MIXTURE, sigmas=2) == (-1.0, 5.0, -1.0, 2.0)
    assert plot.bounding_box(0.0 * MIXTURE) == (-1.0, 1.0, -1.0, 1.0)


def test_density_shows_the_values_with_a_symmetric_colour_range():
    axes = Figure().subplots()
    image = plot.density(axes, MIXTURE, box=(-1.0, 5.0, -1.0, 2.0), pixels=61)
    values = np.asarray(image.get_array())
    assert values.shape[1] == 61
    assert image.get_clim() == (-np.abs(values).max(), np.abs(values).max())
    assert np.unravel_index(values.argmax(), values.shape)[1] == 10  # x = 0 lies a sixth of the way


def test_ellipses_draw_one_patch_for_each_present_component():
    axes = Figure().subplots()
    plot.ellipses(axes, MIXTURE)
    assert len(axes.patches) == 2
    assert [p.width for p in axes.patches] == pytest.approx([1.0, 1.0])


def test_what_is_not_one_flat_mixture_is_refused():
    with pytest.raises(ShapeError, match="batch"):
        plot.bounding_box(MIXTURE.reshape((1,)))


def test_the_box_is_that_of_the_op():
    low, high = gm.bounding_box(MIXTURE, 1.5)
    assert plot.bounding_box(MIXTURE, sigmas=1.5) == (low[0], high[0], low[1], high[1])
    with pytest.raises(NotPositiveDefinite):
        plot.bounding_box(gm.Mixture([1.0], [[0.0, 0.0]], [[[1.0, 0.0], [0.0, -1.0]]]))
