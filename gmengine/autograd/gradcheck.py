"""Check a gradient against central differences, along random directions, in float64."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gmengine.autograd.tape import Tape
from gmengine.autograd.tensor import Tensor, as_array
from gmengine.autograd.trees import is_record, leaves, tree_map, walk
from gmengine.backend import Array, namespace
from gmengine.errors import ArgumentError, DTypeError, ShapeError, TapeError

EPS64 = 2.0**-52


def check_vjp(
    fn: Callable[..., Any],
    *inputs: Any,
    rng: int | np.random.Generator | None = 0,
    eps: float = 1e-6,
    rtol: float = 1e-6,
    atol: float = 1e-9,
    n_directions: int = 1,
    tangents: Sequence[Any] | None = None,
    symmetric: Sequence[int] = (),
) -> None:
    """Assert that the gradients of `fn` agree with central differences.

    For random cotangents c and tangents t, <c, (f(x + eps t) - f(x - eps t)) / 2 eps> must equal <J^T c, t>:
    along all inputs at once, and along each array alone, so that a wrong gradient cannot hide behind a larger
    one. The allowed difference is ``atol + rtol * scale`` plus the rounding error of the differences, where
    `scale` is the larger of the two inner products with the absolute values of all terms. Each array watched
    alone, while the others are constants, must get the gradient that it gets among them.

    Cotangents of covariances are not symmetric here: array functions behind an op may well give such ones.

    Parameters
    ----------
    fn : callable
        ``fn(*inputs)`` returns an array, a Mixture, or a dict, list or tuple of them. Bind other arguments
        first.
    *inputs : float64 arrays, Mixtures, or dicts, lists or tuples of them
        Away from kinks. Never modified.
    rng : int, numpy.random.Generator or None
        Draws the cotangents and tangents.
    eps, rtol, atol : float
        Step and tolerances.
    n_directions : int
        How many times to draw.
    tangents : sequence of the structure of `inputs`, optional
        Instead of random ones. Random ones are symmetric for the covariances of a Mixture, and zero for its
        absent components (weight exactly 0).
    symmetric : sequence of int
        Positions among `inputs` of arrays of symmetric matrices.

    Raises
    ------
    AssertionError
        If an inner product, or a gradient's shape or dtype, is wrong; names the input and both numbers.
    DTypeError
        If an input is not float64.
    """
    rng = np.random.default_rng(rng)
    _require_float64(inputs)
    for _ in range(n_directions):
        direction = tuple(tangents) if tangents is not None else _random_tangents(inputs, symmetric, rng)
        _require_same_shapes(inputs, direction)
        _check_direction(fn, inputs, direction, rng, eps, rtol, atol)


def _check_direction(
    fn: Callable[..., Any],
    inputs: tuple[Any, ...],
    tangents: tuple[Any, ...],
    rng: np.random.Generator,
    eps: float,
    rtol: float,
    atol: float,
) -> None:
    named, steps = list(walk(inputs)), leaves(tangents)
    cotangents = [_random_like(out, rng) for out in _outputs(fn(*tree_map(_copy, inputs)))]
    grads = _gradients(fn, inputs, cotangents, range(len(named)))
    for i in range(len(named) if len(named) > 1 else 0):
        _check_alone(_name(fn), *named[i], grads[i], _gradients(fn, inputs, cotangents, [i])[0], atol)
    by_rule = [(0.0, 0.0) if g is None else _inner(g, t) for g, t in zip(grads, steps, strict=True)]
    everything = list(range(len(named)))
    for subset in [everything, *([i] for i in everything if len(named) > 1)]:
        by_differences, scale, noise = _differences(fn, inputs, steps, subset, cotangents, eps)
        rule = sum(by_rule[i][0] for i in subset)
        scale = max(scale, sum(by_rule[i][1] for i in subset))
        if abs(rule - by_differences) <= atol + rtol * scale + noise:  # False for NaN
            continue
        where = "all inputs" if len(subset) > 1 else f"input{named[subset[0]][0]}"
        missing = "".join(f"; no gradient reached input{named[i][0]}" for i in subset if grads[i] is None)
        raise AssertionError(
            f"check_vjp: the gradient of {_name(fn)} along {where} is wrong: "
            f"by rule {rule:.12g}, by differences {by_differences:.12g} (scale {scale:.3g}, eps {eps:g}; "
            f"shapes {', '.join(f'input{p} {tuple(x.shape)}' for p, x in named)}{missing})"
        )


def _gradients(
    fn: Callable[..., Any], inputs: tuple[Any, ...], cotangents: list[Array], chosen: Sequence[int]
) -> list[Array | None]:
    """Return the gradients by the rules, one for each array of `chosen`; the other arrays are constants."""
    tape, tensors, counter = Tape(), [], itertools.count()

    def watch(x: Array) -> Any:
        if next(counter) not in chosen:
            return _copy(x)
        tensors.append(tape.tensor(_copy(x)))
        return tensors[-1]

    outputs = _outputs(fn(*tree_map(watch, inputs)))
    if len(outputs) != len(cotangents):
        raise AssertionError(f"check_vjp: {_name(fn)} returns other outputs for Tensors than for arrays")
    recorded = [(out, c) for out, c in zip(outputs, cotangents, strict=True) if isinstance(out, Tensor)]
    try:
        return tape.pull_back([out for out, _ in recorded], tensors, [c for _, c in recorded])
    except TapeError as error:  # a rule that returned something of the wrong form
        raise AssertionError(f"check_vjp: {_name(fn)}: {error}") from error


def _check_alone(
    name: str, path: str, x: Array, among: Array | None, alone: Array | None, atol: float
) -> None:
    xp = namespace(x)
    among, alone = (xp.zeros(x.shape, dtype=x.dtype) if g is None else g for g in (among, alone))
    gap, size = float(xp.sum(xp.abs(among - alone))), float(xp.sum(xp.abs(among)))
    if not gap <= atol + 1e-10 * size:
        raise AssertionError(
            f"check_vjp: the gradient of {name} for input{path}, of size {size:.3g}, changes by {gap:.3g} "
            "when this input alone is watched"
        )


def _differences(
    fn: Callable[..., Any],
    inputs: tuple[Any, ...],
    steps: list[Array],
    subset: list[int],
    cotangents: list[Array],
    eps: float,
) -> tuple[float, float, float]:
    """Return <c, (f(x + eps t) - f(x - eps t))/2eps>, its absolute terms' sum, and its rounding error."""

    def shifted(by: float) -> list[Array]:
        counter = itertools.count()

        def shift(x: Array) -> Array:
            i = next(counter)
            return as_array(x + by * steps[i]) if i in subset else _copy(x)

        return _outputs(fn(*tree_map(shift, inputs)))

    total, scale, size = 0.0, 0.0, 0.0
    for c, ahead, behind in zip(cotangents, shifted(eps), shifted(-eps), strict=True):
        inner, absolute = _inner(c, (ahead - behind) / (2.0 * eps))
        total, scale = total + inner, scale + absolute
        size += _inner(c, ahead)[1] + _inner(c, behind)[1]
    return total, scale, 4.0 * EPS64 * size / eps


def _copy(x: Array) -> Array:
    # fn may not write to its inputs; if it does all the same, no other evaluation shall see it.
    return namespace(x).asarray(as_array(x), copy=True)


def _name(fn: Callable[..., Any]) -> str:
    return getattr(fn, "__name__", None) or getattr(fn, "name", None) or repr(fn)


def _outputs(tree: Any) -> list[Any]:
    """Return the floating-point outputs; integers and booleans have no derivative."""
    found = []
    for path, leaf in walk(tree):
        leaf = as_array(leaf)
        array = leaf.value if isinstance(leaf, Tensor) else leaf
        xp = namespace(array)
        if not xp.isdtype(array.dtype, "real floating"):
            continue
        if array.dtype != xp.float64:
            raise AssertionError(f"check_vjp: output{path} of float64 inputs is {array.dtype}")
        found.append(leaf)
    if not found:
        raise ArgumentError("check_vjp: the function returned no floating-point array")
    return found


def _require_float64(inputs: tuple[Any, ...]) -> None:
    for path, x in walk(inputs):
        float64 = namespace(x).float64
        if x.dtype != float64:
            raise DTypeError(f"check_vjp: input{path} must be float64, got {x.dtype}")


def _require_same_shapes(inputs: tuple[Any, ...], tangents: tuple[Any, ...]) -> None:
    expected = [tuple(x.shape) for x in leaves(inputs)]
    got = [tuple(t.shape) for t in leaves(tangents)]
    if expected != got:
        raise ShapeError(f"check_vjp: expected tangents of shapes {expected}, got {got}")


def _random_like(x: Array, rng: np.random.Generator) -> Array:
    # Bounded away from 0: a tiny component would test nothing.
    shape = tuple(x.shape)
    return namespace(x).asarray(rng.uniform(0.5, 1.5, shape) * rng.choice((-1.0, 1.0), shape))


def _random_tangents(
    inputs: tuple[Any, ...], symmetric: Sequence[int], rng: np.random.Generator
) -> tuple[Any, ...]:
    def of(tree: Any) -> Any:
        if is_record(tree) and hasattr(tree, "covariances"):
            return _mixture_tangents(tree, rng)
        if isinstance(tree, dict):
            return {key: of(child) for key, child in tree.items()}
        if isinstance(tree, list | tuple):
            return [of(child) for child in tree]
        return tree_map(lambda x: _random_like(x, rng), tree)

    drawn = [of(x) for x in inputs]
    for i in symmetric:
        drawn[i] = _symmetrised(drawn[i])
    return tuple(drawn)


def _mixture_tangents(mixture: Any, rng: np.random.Generator) -> Any:
    weights = mixture.weights
    xp = namespace(weights)
    present = xp.astype(weights != 0.0, weights.dtype)
    drawn = tree_map(lambda x: _random_like(x, rng), mixture)
    return [
        drawn.weights * present,
        drawn.means * xp.expand_dims(present, axis=-1),
        _symmetrised(drawn.covariances) * xp.expand_dims(xp.expand_dims(present, axis=-1), axis=-1),
    ]


def _symmetrised(x: Array) -> Array:
    return 0.5 * (x + namespace(x).matrix_transpose(x))


def _inner(a: Array, b: Array) -> tuple[float, float]:
    xp = namespace(a, b)
    return float(xp.sum(a * b)), float(xp.sum(xp.abs(a * b)))
