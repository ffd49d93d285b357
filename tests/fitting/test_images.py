"""Images as mixtures: ink, moments, pixels as unit squares, and what is refused."""

import numpy as np
import pytest
from fit_oracle import log_likelihood, moments, pixel_centres
from hypothesis import given
from hypothesis import strategies as st

from gmengine.cpu import _threads
from gmengine.data import digits_images
from gmengine.errors import ArgumentError, BackendError, DTypeError, NonFiniteError, ShapeError
from gmengine.fitting import fit_images

seeds = st.integers(0, 2**32 - 1)
PIXEL = np.eye(2) / 12


@given(seeds, st.integers(1, 7), st.integers(1, 7), st.integers(1, 12))
def test_ink_mean_and_covariance_of_the_pixels_are_kept(seed, height, width, n):
    rng = np.random.default_rng(seed)
    images = rng.random((2, height, width)) * (rng.random((2, height, width)) < 0.7)
    images[:, 0, 0] = 1.0
    mixtures = fit_images(images, n, rng=seed).check()
    squares = np.broadcast_to(PIXEL, (height * width, 2, 2))
    for image, mixture in zip(images, mixtures, strict=True):
        total, mean, spread = moments(*mixture.arrays)
        want = moments(image.ravel(), pixel_centres(height, width), squares)
        np.testing.assert_allclose(total, image.sum(), rtol=1e-12)
        np.testing.assert_allclose(mean, want[1], atol=1e-10)
        np.testing.assert_allclose(spread, want[2], atol=1e-10)
        assert (mixture.weights > 0).sum() == min(n, (image > 0).sum())
        assert np.linalg.eigvalsh(mixture.covariances).min() > 1 / 12 - 1e-9


def test_x_is_the_column_and_y_the_row_counted_downwards():
    image = np.zeros((1, 4, 6))
    image[0, 1, 5] = 2.0
    mixture = fit_images(image, 3)
    np.testing.assert_array_equal(mixture.weights, [[2, 0, 0]])
    np.testing.assert_array_equal(mixture.means, [[[5, 1], [0, 0], [0, 0]]])
    np.testing.assert_allclose(mixture.covariances, [[PIXEL, np.eye(2), np.eye(2)]], rtol=1e-15)


def test_a_blank_image_is_a_mixture_of_absent_components():
    mixture = fit_images(np.zeros((2, 5, 5)), 4).check()
    np.testing.assert_array_equal(mixture.weights, 0)


def test_an_image_of_few_pixels_gets_one_component_each():
    image = np.zeros((1, 9, 9))
    image[0, ::4, ::4] = np.arange(1, 10).reshape(3, 3)  # far apart: EM mixes them by exp(-90)
    mixture = fit_images(image, 12)
    present = mixture.weights[0] > 0
    order = np.argsort(mixture.weights[0][present])
    np.testing.assert_allclose(mixture.weights[0][present][order], np.arange(1, 10))
    np.testing.assert_allclose(mixture.covariances[0][present], np.broadcast_to(PIXEL, (9, 2, 2)), atol=1e-12)


def test_more_components_describe_the_digits_better():
    images = digits_images()[0][:50]
    figures = []
    for n in (2, 6, 18):
        mixtures = fit_images(images, n)
        figures.append(np.mean([log_likelihood(*pair) for pair in zip(images, mixtures, strict=True)]))
    assert np.all(np.diff(figures) > 0.01)


def test_the_same_seed_gives_the_same_bits_on_any_number_of_threads(monkeypatch):
    images, _ = digits_images()
    results = []
    for count in (1, 3):
        monkeypatch.setattr(_threads, "get_num_threads", lambda count=count: count)
        results.append(fit_images(images[:200], 16, rng=3))
    for one, other in zip(results[0].arrays, results[1].arrays, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.float32, np.float64])
def test_every_kind_of_number_gives_the_same_mixture_in_the_dtype_asked_for(kind):
    images = np.round(digits_images()[0][:5] * 16)
    reference = fit_images(images, 6)
    single = fit_images(images.astype(kind), 6, dtype="float32")
    assert single.dtype == np.float32
    for got, want in zip(single.arrays, reference.arrays, strict=True):
        np.testing.assert_array_equal(got, want.astype(np.float32))
    outline = fit_images(images > 0, 6)
    np.testing.assert_allclose(outline.weights.sum(axis=1), (images > 0).sum(axis=(1, 2)))


def one_bad(value):
    images = np.ones((3, 4, 5))
    images[2, 3, 1] = value
    return images


@pytest.mark.parametrize(
    ("images", "options", "error", "text"),
    [
        (one_bad(np.nan), {}, NonFiniteError, r"images\[2, 3, 1\] is nan"),
        (one_bad(np.inf), {}, NonFiniteError, r"images\[2, 3, 1\] is inf"),
        (one_bad(-1.0), {}, ArgumentError, r"images\[2, 3, 1\] = -1"),
        (np.full((1, 2, 2), 1e308), {}, NonFiniteError, r"the sum of images\[0\] overflows"),
        (
            np.full((1, 2, 2), 1e300),
            {"dtype": "float32"},
            NonFiniteError,
            r"float32 cannot hold component \[0, 0\]",
        ),
        (np.ones((4, 5)), {}, ShapeError, r"images\[None\]"),
        (np.ones((2, 0, 5)), {}, ShapeError, r"\(2, 0, 5\)"),
        (np.ones((1, 2, 2), complex), {}, DTypeError, "complex128"),
        ([[[1.0]]], {}, BackendError, "got list"),
        (np.ones((1, 2, 2)), {"dtype": "float16"}, DTypeError, "float16"),
        (np.ones((1, 2, 2)), {"n_components": 0}, ArgumentError, "n_components"),
    ],
)
def test_what_is_wrong_is_named(images, options, error, text):
    with pytest.raises(error, match=text) as info:
        fit_images(images, **{"n_components": 2, **options})
    assert str(info.value).startswith("fit_images: ")
