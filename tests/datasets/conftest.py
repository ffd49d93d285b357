"""A small data set."""

import numpy as np
import pytest

from gmengine.data import Dataset
from gmengine.testing.strategies import random_mixture


@pytest.fixture
def dataset():
    mixtures = random_mixture(0, (12, 1), 3, 2)
    labels = np.array([0, 1, 2] * 4)
    return Dataset(mixtures, labels, ("a", "b", "ç"), "letters", "drawn at random", "CC0")
