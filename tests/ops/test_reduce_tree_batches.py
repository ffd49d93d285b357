"""TreeHEM fits eight nodes at a time: a result depends neither on its neighbours in a vector nor on the threads."""

from __future__ import annotations

import numpy as np
import pytest

from gmengine.ops.reduce import plan, reduce
from gmengine.testing import assert_close, pull_back
from gmengine.testing import strategies as gms
from gmengine.threads import cores, kernel_threads


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("dim", "per_node"), [(2, 2), (3, 2), (2, 5)])
def test_a_node_that_is_selected_twice_gives_the_same_bits_in_other_company(dim, per_node, dtype):
    m = gms.random_mixture(1, (), 200, dim, dtype=dtype)
    found = {}
    for n in (10, 20, 41, 80):
        held, small = plan(m, n, per_node=per_node), reduce(m, n, per_node=per_node)
        for v, start, stop in zip(held.selected[0], held.offsets[0], held.offsets[0][1:], strict=False):
            if stop - start == per_node and v >= 0:
                components = [a[start:stop] for a in small.arrays]
                for now, before in zip(components, found.setdefault(int(v), components), strict=True):
                    assert_close("exact", now, before)
    assert len(found) > 20


@pytest.mark.parametrize("n", [1, 3, 17, 40])
def test_bits_do_not_depend_on_the_number_of_threads_of_the_tree(n):
    m = gms.random_mixture(2, (5,), 90, 2, signed=False)
    results = []
    for count in (1, cores()):
        with kernel_threads(count):
            results.append(pull_back(lambda a: reduce(a, n), m))
    (a, (ga,)), (b, (gb,)) = results
    for x, y in zip((*a.arrays, *ga.arrays), (*b.arrays, *gb.arrays), strict=True):
        assert_close("exact", x, y)


def test_a_mixture_gives_the_same_bits_alone_and_in_a_batch():
    m = gms.random_mixture(3, (4,), 70, 3, absent=0.2)
    together, (g_together,) = pull_back(lambda a: reduce(a, 9), m)
    for i in range(4):
        alone, (g_alone,) = pull_back(lambda a: reduce(a, 9), m[i])
        for x, y in zip((*alone.arrays,), together.arrays, strict=True):
            assert_close("exact", x, y[i])
        assert all(np.all(np.isfinite(g)) for g in (*g_alone.arrays, *g_together.arrays))
