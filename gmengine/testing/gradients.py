"""Pull a random cotangent back through a function of mixtures and arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gmengine.autograd.tape import Tape, Tensor
from gmengine.autograd.trees import leaves, tree_map, value_of
from gmengine.backend import namespace


def pull_back(
    fn: Callable[..., Any], *inputs: Any, cotangent: Any = None, rng: Any = 0
) -> tuple[Any, tuple[Any, ...]]:
    """Return ``fn(*inputs)`` and the gradients of <cotangent, fn(*inputs)>.

    Parameters
    ----------
    fn : callable
        Takes and returns arrays, Mixtures, or dicts, lists and tuples of them.
    inputs
        Every one is differentiated with respect to, and must reach an output.
    cotangent : optional
        Of the output's structure; drawn from a standard normal distribution in float64 and rounded to the
        output's dtype if not given, so that it is the same for float32 and float64 up to that rounding.
    rng : int or Generator
        Draws the cotangent.
    """
    rng = np.random.default_rng(rng)
    tape = Tape()
    sources = tuple(tape.watch(x) for x in inputs)
    outputs = fn(*sources)
    found = leaves(outputs)
    given = [rng.standard_normal(leaf.shape) for leaf in found] if cotangent is None else leaves(cotangent)
    total = None
    for leaf, ct in zip(found, given, strict=True):
        if isinstance(leaf, Tensor):
            xp = namespace(leaf.value)
            term = (leaf * xp.asarray(ct, dtype=leaf.dtype)).sum()
            total = term if total is None else total + term
    assert total is not None, "no output depends on the inputs"
    return tree_map(value_of, outputs), tape.gradient(total, sources)
