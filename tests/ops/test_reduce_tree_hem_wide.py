"""reduce, "tree_hem": nodes of 8 and 16 components, in two and three dimensions."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from gmengine.autograd import check_vjp
from gmengine.mixture import Mixture
from gmengine.ops.reduce import apply, plan, reduce
from gmengine.testing import assert_mixtures_close, laws, tree_oracle
from gmengine.testing import strategies as gms

wide = pytest.mark.parametrize(("dim", "per_node"), [(2, 8), (3, 8), (2, 16), (3, 16)])


def by_recursion(m, n, per_node):
    parts = [tree_oracle.tree_hem(*(a[b] for a in m.arrays), n, per_node) for b in np.ndindex(*m.batch)]
    return Mixture(*(np.stack(p).reshape((*m.batch, *p[0].shape)) for p in zip(*parts, strict=True)))


@wide
@pytest.mark.parametrize("signed", [False, True])
def test_components_are_those_of_the_recursion_in_order(backend, dim, per_node, signed):
    m = gms.random_mixture(1, (2,), 90, dim, condition=4.0, signed=signed, absent=0.1)
    for n in (per_node // 2, per_node, per_node + 3, 40):
        got = backend.asnumpy(reduce(backend.asarray(m), n, per_node=per_node))
        want = by_recursion(m, n, per_node)
        assert_mixtures_close("solve", got, want, size=90, condition=100)
        laws.moments_are_conserved(m, got)


@wide
@pytest.mark.parametrize("signed", [False, True])
def test_the_gradient_is_that_of_finite_differences_while_the_plan_is_held(dim, per_node, signed):
    m = gms.random_mixture(2, (2,), 50, dim, absent=0.1, signed=signed)
    for n in (per_node // 2, per_node, per_node + 3, 30):
        held = plan(m, n, per_node=per_node)
        check_vjp(partial(apply, plan=held), m, rng=3, eps=1e-5)
