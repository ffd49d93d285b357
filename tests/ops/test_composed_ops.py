"""Ops that are compositions of array functions run on every array library; nothing in them is NumPy's alone."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest

from gmengine.autograd import value_of
from gmengine.autograd.trees import leaves
from gmengine.mixture import Mixture
from gmengine.ops.affine import affine, marginal, scale, translate
from gmengine.ops.bounding_box import bounding_box
from gmengine.ops.channels import channel_dropout, concat_channels, sum_channels
from gmengine.ops.conditional import conditional
from gmengine.ops.divergence import kl_upper_bound, kl_variational
from gmengine.ops.evaluate import evaluate_components
from gmengine.ops.log_density import log_density
from gmengine.ops.moments import moments
from gmengine.testing import assert_close, pull_back
from gmengine.testing import strategies as gms

VALUES, POINTS = [[0.1, -0.5]], [[0.1, 0.2, 0.3], [1.0, -1.0, 0.0]]
OPS = {
    "evaluate_components": lambda m: evaluate_components(m, POINTS),
    "log_density": lambda m: log_density(m, POINTS),
    "affine": lambda m: affine(m, [[1.0, 2.0, 0.0], [0.0, 1.0, 1.0]], 0.5),
    "scale": lambda m: scale(m, 2.0),
    "translate": lambda m: translate(m, [1.0, 2.0, 3.0]),
    "marginal": lambda m: marginal(m, [2, 0]),
    "conditional": lambda m: conditional(m, [2, 0], VALUES),
    "slice": lambda m: conditional(m, [2, 0], VALUES, normalised=False),
    "concat_channels": lambda m: concat_channels([m, m[:1]]),
    "sum_channels": sum_channels,
    "channel_dropout": lambda m: channel_dropout(m, 0.5, 1),
    "moments": moments,
    "bounding_box": bounding_box,
    "kl_variational": lambda m: kl_variational(m, scale(m, 1.5)),
    "kl_upper_bound": lambda m: kl_upper_bound(m, scale(m, 1.5)),
    "amplitudes": lambda m: m.amplitudes,
    "from_amplitudes": lambda m: Mixture.from_amplitudes(*m.arrays),
}


def strict(m):
    """Return the mixture as arrays that know the Python array-API standard and nothing else."""
    xp = import_module("array_api_strict")
    return Mixture(*(xp.asarray(a) for a in m.arrays))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OPS)
def test_the_standard_is_enough_and_dtype_is_kept(name, dtype):
    m = gms.random_mixture(1, (2,), 5, 3, signed=False, absent=0.3, dtype=dtype)
    before = [a.copy() for a in m.arrays]
    want = leaves(OPS[name](m))
    got = leaves(OPS[name](strict(m)))
    for g, w in zip(got, want, strict=True):
        assert str(g.dtype).rsplit(".", 1)[-1] == w.dtype.name == dtype
        assert_close("sum", np.from_dlpack(g), w, size=16)
    for a, b in zip(m.arrays, before, strict=True):
        assert_close("exact", a, b)


@pytest.mark.parametrize("name", OPS)
def test_gradients_need_no_more_than_the_standard(name):
    m = gms.random_mixture(2, (2,), 5, 3, signed=False, absent=0.3)
    _, (want,) = pull_back(_all_reached(OPS[name]), m)
    _, (got,) = pull_back(_all_reached(OPS[name]), strict(m))
    for g, w in zip(got.arrays, want.arrays, strict=True):
        assert_close("sum", np.from_dlpack(g), w, size=16)


def _all_reached(op):
    """Let every field reach an output, with slope 0, whichever of them the op reads."""

    def extended(m):
        return {"out": op(m), "fields": [0.0 * a for a in m.arrays]}

    return extended


@pytest.mark.parametrize("name", OPS)
def test_strides_do_not_matter(name):
    m = gms.random_mixture(3, (2,), 5, 3, signed=False)
    strided = Mixture(*(np.asfortranarray(a) for a in m.arrays))
    for got, want in zip(leaves(OPS[name](strided)), leaves(OPS[name](m)), strict=True):
        assert_close("sum", value_of(got), want, size=16)
