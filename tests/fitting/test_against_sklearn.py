"""Our fits of many images are as good as scikit-learn's of one at a time."""

import warnings

import numpy as np
import pytest
from fit_oracle import log_likelihood, pixel_centres
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits

from gmengine import Mixture, fit, log_density
from gmengine.data import digits_images
from gmengine.fitting import fit_images, kmeans

CENTRES = pixel_centres(8, 8)
IMAGES = np.round(
    digits_images()[0][:60] * 16
)  # integers: scikit-learn's mixtures know no weights, only copies


def sklearn_mixture(image, n, seed):
    """K-means and one EM step on as many copies of each pixel as it has intensity."""
    copies = np.repeat(CENTRES, image.ravel().astype(int), axis=0)
    model = GaussianMixture(n, max_iter=1, reg_covar=1 / 12, random_state=seed)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(copies)
    return Mixture(model.weights_, model.means_, model.covariances_)


@pytest.mark.parametrize("n", [6, 16])
def test_the_mean_log_likelihood_is_at_least_that_of_scikit_learn_less_a_hundredth(n):
    ours = [log_likelihood(*pair) for pair in zip(IMAGES, fit_images(IMAGES, n), strict=True)]
    theirs = [log_likelihood(image, sklearn_mixture(image, n, seed)) for seed, image in enumerate(IMAGES)]
    assert np.mean(ours) > np.mean(theirs) - 0.01  # of about 3.5; measured: equal to within 0.001


@pytest.mark.parametrize("n", [6, 16])
def test_the_sum_of_squared_distances_is_at_most_that_of_scikit_learn_and_a_twentieth(n):
    masses = IMAGES.reshape(len(IMAGES), -1)
    points = np.broadcast_to(CENTRES, (len(IMAGES), 64, 2))
    mixture, labels = kmeans(points, masses, n, rng=0)
    own = np.take_along_axis(mixture.means, np.maximum(labels, 0)[..., None], axis=1)
    ours = (masses * ((points - own) ** 2).sum(-1)).sum(axis=1)
    with threadpool_limits(1):
        theirs = [
            KMeans(n, n_init=1, random_state=seed).fit(CENTRES, sample_weight=v).inertia_
            for seed, v in enumerate(masses)
        ]
    assert ours.mean() < 1.05 * np.mean(theirs)  # measured: equal to within 0.01


def glyphs():
    """Digits drawn large, 28 x 28, as grey as photographs: about 400 pixels above 0, integers."""
    grey = np.arange(28) * 7 / 27
    low, part = np.floor(grey).astype(int), grey - np.floor(grey)
    high = np.minimum(low + 1, 7)
    wide = IMAGES[:6, :, low] * (1 - part) + IMAGES[:6, :, high] * part
    tall = wide[:, low] * (1 - part[:, None]) + wide[:, high] * part[:, None]
    return np.round(tall)


def test_64_components_of_a_large_image_are_at_least_as_likely_as_those_of_scikit_learn():
    images = glyphs()
    centres = pixel_centres(28, 28)
    ours = [log_likelihood(*pair) for pair in zip(images, fit_images(images, 64), strict=True)]
    theirs = []
    for image in images:
        copies = np.repeat(centres, image.ravel().astype(int), axis=0)
        theirs.append(log_likelihood(image, one_step(copies, 64, 1 / 12)))
    assert np.mean(ours) > np.mean(theirs) - 0.01


@pytest.mark.parametrize("steps", [1, 20])
def test_128_components_of_1024_points_are_at_least_as_likely_as_those_of_scikit_learn(steps):
    rng = np.random.default_rng(0)
    clouds = rng.standard_normal((3, 1024, 3))
    clouds[:2] /= np.linalg.norm(clouds[:2], axis=-1, keepdims=True) / [[[1.0, 2.0, 3.0]]]  # surfaces
    clouds[:2] += 0.02 * rng.standard_normal((2, 1024, 3))
    floors = 1e-6 * np.ptp(clouds, axis=1).max(axis=1) ** 2
    ours = fit(clouds, 128, steps=steps, covariance_floor=floors)
    ours = [float(log_density(m, x).mean()) for m, x in zip(ours, clouds, strict=True)]
    theirs = [
        float(log_density(one_step(x, 128, floor, steps), x).mean())
        for x, floor in zip(clouds, floors, strict=True)
    ]
    assert np.mean(ours) > np.mean(theirs) - 0.01


def one_step(points, n, floor, steps=1):
    model = GaussianMixture(n, max_iter=steps, tol=0.0, reg_covar=floor, random_state=0)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(points)
    return Mixture(model.weights_, model.means_, model.covariances_)
