"""Find out which laws of mixture algebra a set of functions obeys, and the smallest counterexamples."""

from gmengine.testing.auditing._algebra import Algebra
from gmengine.testing.auditing._run import MAX_EXAMPLES, AuditError, Report, Verdict, audit

__all__ = ["MAX_EXAMPLES", "Algebra", "AuditError", "Report", "Verdict", "audit"]
