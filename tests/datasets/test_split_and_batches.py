"""Splits are disjoint, complete and stratified; batches visit everything once."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gmengine.data import Dataset, batches, split
from gmengine.errors import ArgumentError, ShapeError
from gmengine.testing.strategies import random_mixture

seeds = st.integers(0, 2**32 - 1)
labels_and_fractions = st.tuples(
    st.lists(st.integers(0, 4), max_size=60).map(np.array),
    st.lists(st.integers(1, 9), min_size=1, max_size=4).map(lambda parts: [p / sum(parts) for p in parts]),
)


@given(labels_and_fractions, seeds)
def test_parts_are_disjoint_complete_and_have_every_class_in_proportion(drawn, seed):
    labels, fractions = drawn
    parts = split(labels, fractions, seed)
    assert len(parts) == len(fractions)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(len(labels)))
    for part, fraction in zip(parts, fractions, strict=True):
        assert part.dtype == np.int64
        assert (np.diff(part) > 0).all()
        for label in np.unique(labels):
            assert abs((labels[part] == label).sum() - fraction * (labels == label).sum()) <= 1 + 1e-9


def test_the_generator_decides_who_goes_where():
    labels = np.arange(100) % 3
    one, same, other = (split(labels, (0.5, 0.5), seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_shares_that_rounding_would_spoil_are_exact():
    train, valid, test = split(np.zeros(10, int), (0.7, 0.1, 0.2), 0)
    assert (len(train), len(valid), len(test)) == (7, 1, 2)


@pytest.mark.parametrize("fractions", [(0.5, 0.4), (1.0, 0.0), (1.5, -0.5), (np.nan, 1.0), (), ((0.5, 0.5),)])
def test_fractions_that_are_none_are_refused(fractions):
    with pytest.raises(ArgumentError, match="fractions"):
        split(np.zeros(4, int), fractions, 0)


def test_labels_of_another_shape_are_refused():
    with pytest.raises(ShapeError, match=r"\(2, 2\)"):
        split(np.zeros((2, 2), int), (1.0,), 0)


def numbered(count):
    return Dataset(
        random_mixture(0, (count, 1), 2, 2), np.arange(count), tuple(map(str, range(count))), "n", "", ""
    )


@given(st.integers(0, 25), st.integers(1, 9), st.none() | seeds, st.booleans())
def test_every_object_comes_once_in_batches_of_the_size_asked_for(count, size, seed, drop_last):
    found = list(batches(numbered(count), size, rng=seed, drop_last=drop_last))
    seen = np.concatenate([np.empty(0, int), *(b.labels for b in found)])
    assert all(len(b) == size for b in (found if drop_last else found[:-1]))
    assert len(seen) == (count - count % size if drop_last else count)
    assert len(set(seen)) == len(seen)
    if seed is None:
        np.testing.assert_array_equal(seen, np.arange(len(seen)))


def test_a_seed_shuffles_and_a_generator_shuffles_anew_each_time():
    data = numbered(50)

    def order(rng):
        return np.concatenate([b.labels for b in batches(data, 7, rng=rng)])

    np.testing.assert_array_equal(order(3), order(3))
    generator = np.random.default_rng(3)
    orders = [order(generator) for _ in range(3)]
    np.testing.assert_array_equal(orders[0], order(3))
    assert not any(np.array_equal(one, other) for one, other in pairwise(orders))


def test_the_generator_is_used_at_the_call_not_at_the_first_batch():
    data, generator = numbered(9), np.random.default_rng(0)
    waiting = batches(data, 9, rng=generator)
    generator.random()
    np.testing.assert_array_equal(next(waiting).labels, np.random.default_rng(0).permutation(9))


@pytest.mark.parametrize("size", [0, -1, 2.0, True])
def test_a_size_that_is_none_is_refused_at_the_call(size):
    with pytest.raises(ArgumentError, match="size"):
        batches(numbered(3), size)
