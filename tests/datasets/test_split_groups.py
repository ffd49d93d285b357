"""Groups are never cut, and classes are shared as the fractions say as far as groups allow."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gmengine.data.split import split_groups
from gmengine.errors import ArgumentError, ShapeError

seeds = st.integers(0, 2**32 - 1)
# Sizes of the groups of every class.
classes = st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=12), min_size=1, max_size=4)
shares = st.lists(st.integers(1, 9), min_size=1, max_size=4).map(
    lambda parts: [p / sum(parts) for p in parts]
)


def objects(sizes, seed=0):
    label = np.concatenate([[c] * sum(groups) for c, groups in enumerate(sizes)])
    group = np.repeat(np.arange(sum(map(len, sizes))), np.concatenate(sizes))
    order = np.random.default_rng(seed).permutation(len(label))
    return label[order], group[order]


@given(classes, shares, seeds)
def test_groups_stay_whole_and_every_object_comes_once(sizes, fractions, seed):
    labels, groups = objects(sizes)
    parts = split_groups(labels, groups, fractions, seed)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(len(labels)))
    held = [set(groups[part]) for part in parts]
    assert sum(map(len, held)) == len(set(groups))
    assert all((np.diff(part) > 0).all() for part in parts)


@given(classes, shares, seeds)
def test_no_part_has_more_of_a_class_than_its_share_and_the_largest_group(sizes, fractions, seed):
    labels, groups = objects(sizes)
    for part, fraction in zip(split_groups(labels, groups, fractions, seed), fractions, strict=True):
        for c, own in enumerate(sizes):
            assert (labels[part] == c).sum() <= fraction * sum(own) + max(own) + 1e-6


@given(classes, shares, seeds)
def test_a_class_with_a_group_for_every_part_is_in_all_of_them(sizes, fractions, seed):
    labels, groups = objects(sizes)
    parts = split_groups(labels, groups, fractions, seed)
    for c, own in enumerate(sizes):
        if len(own) >= len(fractions):
            assert all((labels[part] == c).any() for part in parts)


@given(classes, seeds)
def test_groups_of_one_object_are_shared_exactly(sizes, seed):
    labels = objects(sizes)[0]
    parts = split_groups(labels, np.arange(len(labels)), (0.5, 0.25, 0.25), seed)
    for c, own in enumerate(sizes):
        if sum(own) >= 3:
            for part, fraction in zip(parts, (0.5, 0.25, 0.25), strict=True):
                assert abs((labels[part] == c).sum() - fraction * sum(own)) <= 1


def test_the_seed_decides_among_equal_groups():
    labels, groups = np.zeros(60, int), np.arange(60) // 3
    one, same, other = (split_groups(labels, groups, (0.7, 0.3), seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_a_group_of_two_classes_stays_whole_too():
    labels, groups = np.array([0, 1] * 20), np.array(["a"] * 10 + [f"g{k}" for k in range(30)])
    parts = split_groups(labels, groups, (0.5, 0.5), 0)
    assert sum("a" in groups[part] for part in parts) == 1


def test_groups_and_fractions_that_are_none_are_refused():
    with pytest.raises(ShapeError, match=r"\(3,\)"):
        split_groups(np.zeros(4, int), np.zeros(3, int), (1.0,), 0)
    with pytest.raises(ArgumentError, match="split_groups: expected positive fractions"):
        split_groups(np.zeros(4, int), np.zeros(4, int), (0.5, 0.6), 0)
