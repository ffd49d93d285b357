"""Reduce mixtures to fewer components: a plan of integers, then a differentiable apply."""

from __future__ import annotations

from dataclasses import dataclass
from operator import index
from typing import Any

import numpy as np

from gmengine.autograd import Primitive
from gmengine.autograd.arrays import reshape
from gmengine.backend import Array, kernels, namespace, to_device
from gmengine.errors import ArgumentError, ShapeError
from gmengine.mixture import Mixture, check_components
from gmengine.ops._flat import flat, named_component

METHODS = ("tree_hem", "top")
MAX_PER_NODE = 16


@dataclass(frozen=True, eq=False)
class Plan:
    """Which components a reduction makes of which: integers only, hence without gradient by its type.

    A plain `Plan` keeps every component; the subclasses say what their methods decided.
    """

    n: int
    """Components of the result."""
    shape: tuple[int, ...]
    """``(*batch, N)`` of the mixture for which the plan was made."""


@dataclass(frozen=True, eq=False)
class TreePlan(Plan):
    """The decisions of TreeHEM for M flattened mixtures, T components per node.

    A node is named by an integer: ``v >= 0`` is an inner node (numbered in preorder, so that a subtree of L
    leaves is ``v, ..., v + L - 2``), ``~p < 0`` the leaf at position `p` of the Morton order.
    """

    order: Array
    """(M, N): leaf position -> component, positive components first; -1 past the last present one."""
    positive: Array
    """(M,): number of positive leaves."""
    children: Array
    """(M, N - 1, 2): left and right child of each inner node."""
    leaves: Array
    """(M, N - 1): number of leaves under each inner node."""
    selected: Array
    """(M, n): the nodes that give the result."""
    offsets: Array
    """(M, n + 1): where their components begin in the result; a node past the last one gives none."""
    representatives: Array
    """(M, N - 1, 2T): the collected component from which each output of a fitted node starts."""
    masks: Array
    """(M, N - 1, 2T): as bits, the outputs that each collected component of a fitted node may join."""

    @property
    def arrays(self) -> tuple[Array, ...]:
        """The integer arrays, in the order in which they are declared."""
        return (
            self.order,
            self.positive,
            self.children,
            self.leaves,
            self.selected,
            self.offsets,
            self.representatives,
            self.masks,
        )


@dataclass(frozen=True, eq=False)
class TopPlan(Plan):
    """The decisions of ``"top"``."""

    indices: Array
    """(M, n): the components to keep, heaviest first; -1 where there are no more."""


def reduce(m: Mixture, n: int, method: str = "tree_hem", per_node: int = 2) -> Mixture:
    """Return the mixtures with n components each.

    Parameters
    ----------
    m : Mixture, shape (*batch, N)
    n : int
        At least 1. Exactly n components are present where at least n were; where fewer were, they are kept as they
        are, in their order, and followed by absent ones (weight 0, mean 0, covariance I).
    method : {"tree_hem", "top"}
        ``"tree_hem"``: one EM step in every node of a tree over the means (paper section 4.1). Conserves the integral,
        the mean and the covariance of the mixture's positive and of its negative part.
        ``"top"``: the components of largest ``|w|``, heaviest first; ties go to the lower index.
    per_node : int, 1 to 16
        The paper's T, for ``"tree_hem"``: how many components a node holds.

    Returns
    -------
    Mixture, shape (*batch, min(n, N))
        `m` itself if n >= N.

    Raises
    ------
    ArgumentError
        If n < 1, the method is unknown, per_node is not 1 to 16, or "tree_hem" is asked to merge both signs into one
        component.
    NonFiniteError, NotPositiveDefinite
        If a present component has such a number or covariance ("top" asks only for finite weights); names it.

    Notes
    -----
    ``reduce(m, n, method, per_node)`` is ``apply(m, plan(m, n, method, per_node))``. The gradient holds the plan.
    """
    n, per_node = _check("reduce", n, method, per_node)
    if n >= m.n_components:
        return m
    found, values = _decide("reduce", m, n, method, per_node)
    return _carry_out("reduce", m, found, values)


def plan(m: Mixture, n: int, method: str = "tree_hem", per_node: int = 2) -> Plan:
    """Return the discrete decisions of `reduce`, for the values of `m`.

    Parameters, result and errors are those of `reduce`; a mixture of Tensors is planned by its values.
    """
    n, per_node = _check("plan", n, method, per_node)
    if n >= m.n_components:
        return Plan(m.n_components, (*m.batch, m.n_components))
    return _decide("plan", m, n, method, per_node)[0]


def apply(m: Mixture, plan: Plan) -> Mixture:
    """Return the mixture reduced as `plan` says: a smooth function of its weights, means and covariances.

    Parameters
    ----------
    m : Mixture, shape `plan.shape`
        Its components must be present, positive and negative where they were when the plan was made.
    plan : Plan
        From `plan`.

    Returns
    -------
    Mixture, shape (*batch, plan.n)

    Raises
    ------
    ShapeError
        If the mixture's shape is not the plan's.
    ArgumentError, NonFiniteError, NotPositiveDefinite
        If a component's sign is not the plan's, or a present component is invalid; names it.
    """
    if (*m.batch, m.n_components) != plan.shape:
        raise ShapeError(
            f"apply: the plan is for weights of shape {plan.shape}, got {(*m.batch, m.n_components)}"
        )
    return _carry_out("apply", m, plan, None)


@Primitive
def tree_hem_p(
    weights: Array,
    means: Array,
    covariances: Array,
    *,
    plan: tuple[Array, ...],
    values: tuple[Array, ...] | None = None,
) -> tuple[tuple[Array, ...], Any]:
    """Apply a TreeHEM plan to (M, N) mixtures; `values` is the result if planning has found it already."""
    return kernels("tree_hem", weights).forward(weights, means, covariances, plan, values)


@tree_hem_p.defvjp
def _(residuals: Any, cotangents: tuple[Array, ...], needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
    return kernels("tree_hem", residuals[0]).vjp(residuals, *cotangents, needs)


@Primitive
def top_p(
    weights: Array, means: Array, covariances: Array, *, indices: Array
) -> tuple[tuple[Array, ...], Any]:
    """Gather the components of (M, N) mixtures that `indices` (M, n) name; -1 stands for an absent one."""
    return kernels("top", weights).forward(weights, means, covariances, indices)


@top_p.defvjp
def _(residuals: Any, cotangents: tuple[Array, ...], needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
    return kernels("top", residuals[0]).vjp(residuals, *cotangents, needs)


def _check(op: str, n: Any, method: str, per_node: Any) -> tuple[int, int]:
    if method not in METHODS:
        raise ArgumentError(f"{op}: expected a method of {METHODS}, got {method!r}")
    for name, value, low, high in (("n", n, 1, None), ("per_node", per_node, 1, MAX_PER_NODE)):
        wanted = (
            f"{name} to be an integer >= {low}"
            if high is None
            else f"{name} to be an integer, {low} to {high}"
        )
        try:
            number = index(value)
        except TypeError:
            raise ArgumentError(f"{op}: expected {wanted}, got {value!r}") from None
        if number < low or (high is not None and number > high):
            raise ArgumentError(f"{op}: expected {wanted}, got {number}")
    return index(n), index(per_node)


def _decide(op: str, m: Mixture, n: int, method: str, per_node: int) -> tuple[Plan, tuple[Array, ...] | None]:
    """Return the plan for n < N, and the result if the method finds it on the way."""
    weights, means, covariances = flat(m.values())
    shape = (*m.batch, m.n_components)
    if method == "top":
        if not namespace(weights).all(namespace(weights).isfinite(weights)):
            check_components(op, *m.values().to("cpu").arrays)
        return TopPlan(n, shape, kernels("top", weights).plan(weights, n)), None
    if n == 1:
        _check_one_sign(op, weights, m.batch)
    with named_component(op, m):
        found, values = kernels("tree_hem", weights).plan_and_forward(
            weights, means, covariances, n, per_node
        )
    return TreePlan(n, shape, *found), values


def _check_one_sign(op: str, weights: Array, batch: tuple[int, ...]) -> None:
    """Raise if one of the (M, N) mixtures, which stand for those of the shape `batch`, has both signs."""
    both = namespace(weights).any(weights > 0, axis=-1) & namespace(weights).any(weights < 0, axis=-1)
    for found in np.flatnonzero(to_device(both, "cpu")):
        where = [int(i) for i in np.unravel_index(found, batch)]
        raise ArgumentError(f"{op}: expected n >= 2 for mixture {where}, which has both signs, got n = 1")


def _carry_out(op: str, m: Mixture, plan: Plan, values: tuple[Array, ...] | None) -> Mixture:
    if isinstance(plan, TreePlan):
        with named_component(op, m):
            outputs = tree_hem_p(*flat(m), plan=plan.arrays, values=values)
    elif isinstance(plan, TopPlan):
        outputs = top_p(*flat(m), indices=plan.indices)
    else:
        return m
    return Mixture(*(reshape(x, (*m.batch, *x.shape[1:])) for x in outputs))
