"""Strategies, laws, oracles and tolerances for testing mixture algebra, anybody's; needs ``gmengine[test]``."""

from gmengine.autograd import check_vjp
from gmengine.testing import laws, oracles, strategies, tree_oracle
from gmengine.testing.assertions import asnumpy, assert_close, assert_mixtures_close
from gmengine.testing.auditing import Algebra, AuditError, Report, Verdict, audit
from gmengine.testing.gradients import pull_back
from gmengine.testing.tolerances import TOLERANCES, tolerance

__all__ = [
    "TOLERANCES",
    "Algebra",
    "AuditError",
    "Report",
    "Verdict",
    "asnumpy",
    "assert_close",
    "assert_mixtures_close",
    "audit",
    "check_vjp",
    "laws",
    "oracles",
    "pull_back",
    "strategies",
    "tolerance",
    "tree_oracle",
]
