"""Strategies, oracles, laws and tolerances for testing mixture algebra; needs ``gmengine[test]``."""

from gmengine.testing import laws, oracles, strategies, tree_oracle
from gmengine.testing.assertions import asnumpy, assert_close, assert_mixtures_close
from gmengine.testing.gradients import pull_back
from gmengine.testing.tolerances import TOLERANCES, tolerance

__all__ = [
    "TOLERANCES",
    "asnumpy",
    "assert_close",
    "assert_mixtures_close",
    "laws",
    "oracles",
    "pull_back",
    "strategies",
    "tolerance",
    "tree_oracle",
]
