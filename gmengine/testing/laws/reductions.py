"""Laws of reducing mixtures to fewer components, and of convolution fused with reduction."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gmengine.mixture import Mixture
from gmengine.ops.convolve import convolve
from gmengine.ops.reduce import reduce
from gmengine.testing import oracles, tree_oracle
from gmengine.testing.assertions import asnumpy, assert_close, assert_mixtures_close
from gmengine.testing.laws._common import Convolve, Reduce, of_sign, triple
from gmengine.testing.laws.maps import mixtures_are_valid

Fused = Callable[[Mixture, Mixture, int], Mixture]
"""``(data, kernel, n) -> mixture of n components``"""


def moments_are_conserved(m: Mixture, merged: Mixture, kind: str = "moments", *, signs: bool = True) -> None:
    """Merging keeps the integrals of f, x f and x x^T f, of the positive and of the negative part.

    Errors are relative to the mass, times the largest coordinate, or its square plus the largest variance.
    With ``signs=False`` only those of the whole mixture are compared.
    """
    m, merged = asnumpy(m), asnumpy(merged)
    for sign in (1.0, -1.0) if signs else (0.0,):
        before, after = (of_sign(x, sign) if sign else x for x in (m, merged))
        for b in np.ndindex(*m.batch):
            want, got = (oracles.moments(*(a[b] for a in x.arrays)) for x in (before, after))
            present = before.weights[b] != 0
            mass = np.abs(before.weights[b].astype(np.float64)).sum()
            radius = np.max(np.abs(m.means[b][present]), initial=0.0)
            variance = np.max(np.abs(m.covariances[b][present]), initial=0.0)
            units = 1.0, radius, radius**2 + variance
            for order in range(3):
                assert_close(
                    kind,
                    np.asarray(got[order], m.dtype),  # moments are summed in float64; merging rounded to this
                    np.asarray(want[order]),
                    size=m.n_components,
                    scale=mass * units[order],
                    name=f"moment {order} of sign {sign:+.0f} of mixture {b}",
                )


def has_exactly(m: Mixture, n: int) -> None:
    """Every mixture has `n` present components."""
    present = np.count_nonzero(asnumpy(m).weights, axis=-1)
    assert np.all(present == n), f"expected {n} present components, got {present.tolist()}"


def reduction_has_exactly(m: Mixture, n: int, *, reduce: Reduce = reduce) -> None:
    """``reduce(m, n)`` has n present components, or as many as there were; mixtures of both signs need 2."""
    got, given = (np.count_nonzero(asnumpy(x).weights, axis=-1) for x in (reduce(m, n), m))
    want = np.minimum(n, given)
    assert np.all(got == want), f"expected {want.tolist()} present components, got {got.tolist()}"


def reduction_keeps_what_fits(m: Mixture, *, reduce: Reduce = reduce) -> None:
    """Asked for as many components as there are, it returns these, in any order."""
    assert_mixtures_close("exact", reduce(m, m.n_components), m, any_order=True)


def reduction_conserves_moments(m: Mixture, n: int, *, reduce: Reduce = reduce) -> None:
    """`moments_are_conserved` for ``reduce(m, n)``, either sign by itself; not true of mere selection."""
    moments_are_conserved(m, reduce(m, n))


def reduction_gives_valid_mixtures(m: Mixture, n: int, *, reduce: Reduce = reduce) -> None:
    """Covariances stay positive definite and all numbers finite, for weights of any magnitude."""
    mixtures_are_valid(reduce(m, n))


def reduction_is_that_of_recursion(
    m: Mixture, n: int, per_node: int = 2, condition: float = 100.0, *, reduce: Reduce = reduce
) -> None:
    """TreeHEM gives what plain recursion over the same tree gives (`tree_oracle`), in any order."""
    one = asnumpy(m)
    parts = [tree_oracle.tree_hem(*triple(one[b]), n, per_node) for b in np.ndindex(*m.batch)]
    stacked = (np.stack(p).reshape((*m.batch, *p[0].shape)) for p in zip(*parts, strict=True))
    got = asnumpy(reduce(m, n))
    assert_mixtures_close(
        "solve", got, Mixture(*stacked), any_order=True, size=m.n_components, condition=condition
    )


# --- convolution fused with reduction -----------------------------------------------------------------------


def fusion_is_the_composition(
    data: Mixture,
    kernel: Mixture,
    n: int,
    condition: float = 10.0,
    *,
    convolve_reduce: Fused,
    convolve: Convolve = convolve,
    reduce: Reduce = reduce,
) -> None:
    """``convolve_reduce(data, kernel, n) = reduce(convolve(data, kernel), n)``, in any order of components."""
    whole = convolve(data, kernel)
    got, want = convolve_reduce(data, kernel, n), reduce(whole, n)
    size = whole.n_components
    assert_mixtures_close("solve", got, want, any_order=True, size=size, condition=condition)


def fusion_keeps_what_fits(
    data: Mixture, kernel: Mixture, *, convolve_reduce: Fused, convolve: Convolve = convolve
) -> None:
    """Asked for as many components as the convolution has, it is the convolution, in any order."""
    whole = convolve(data, kernel)
    got = convolve_reduce(data, kernel, whole.n_components)
    assert_mixtures_close("elementwise", got, whole, any_order=True)


def fusion_conserves_moments(
    data: Mixture, kernel: Mixture, n: int, *, convolve_reduce: Fused, convolve: Convolve = convolve
) -> None:
    """The moments of either sign are those of the convolution."""
    moments_are_conserved(convolve(data, kernel), convolve_reduce(data, kernel, n))
