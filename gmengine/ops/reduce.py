"""Reduce mixtures to fewer components: a plan of integers, then a differentiable apply."""

from __future__ import annotations

from operator import index
from typing import Any

import numpy as np

from gmengine.autograd import Primitive, value_of
from gmengine.autograd.arrays import reshape
from gmengine.backend import Array, kernels, namespace, to_device
from gmengine.errors import ArgumentError, ShapeError
from gmengine.mixture import Mixture, check_components
from gmengine.ops._flat import flat, named_component
from gmengine.ops._plans import EmPlan, HemPlan, Level, Plan, TopPlan, TreePlan

__all__ = ["METHODS", "EmPlan", "HemPlan", "Level", "Plan", "TopPlan", "TreePlan", "apply", "plan", "reduce"]

METHODS = ("tree_hem", "em", "hem", "top")
MAX_PER_NODE = 16


def reduce(m: Mixture, n: int, method: str = "tree_hem", per_node: int = 2) -> Mixture:
    """Return the mixtures with n components each.

    Parameters
    ----------
    m : Mixture, shape (*batch, N)
    n : int
        At least 1. Exactly n components are present where at least n were; where fewer were, they are kept as they
        are, in their order, and followed by absent ones (weight 0, mean 0, covariance I). A merged component of "em" or
        "hem" whose weight is not larger than the dtype's smallest normal number is absent as well.
    method : {"tree_hem", "em", "hem", "top"}
        ``"tree_hem"``: one EM step in every node of a tree over the means (paper section 4.1).
        ``"em"``: one EM step from the n components of largest ``|w|`` (the paper's MEM, eq. 15-16, with V = 20 virtual
        points). Positive ones first, heaviest first; the last gives way if a sign would have none.
        ``"hem"``: hierarchical EM, level by level to a third of the components, each level one EM step from those that
        hold equal-mass quantiles along a Morton curve (Vasconcelos & Lippman 1999). A component may join parents of
        Kullback-Leibler divergence up to 2, and the nearest (Preiner et al. 2014, alpha = 2). V is
        the number of the mixture's components, as for the points of the original. In the order of the curve, positive
        ones first.
        These three conserve the integral, the mean and the covariance of the mixture's positive and of its negative
        part. Signs never mix. Memory is linear in N, but for the masks of "hem", a bit per pair of a level:
        N^2 / 20 bytes if n <= N / 3.
        ``"top"``: the components of largest ``|w|``, heaviest first.
        Ties go to the lower index.
    per_node : int, 1 to 16
        The paper's T, how many components a node holds: for ``"tree_hem"``; the other methods ignore it.

    Returns
    -------
    Mixture, shape (*batch, min(n, N))
        `m` itself if n >= N.

    Raises
    ------
    ArgumentError
        If n < 1, the method is unknown, per_node is not 1 to 16, or a method other than "top" is asked to merge both
        signs into one component.
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

    Parameters and errors are those of `reduce`, but that "em", like "top", asks only for finite weights here. A mixture
    of Tensors is planned by its values.
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
        Its components must be present, positive and negative where they were when the plan was made; not for "top",
        which keeps the components that it named, as far as they are present.
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
    if isinstance(plan, TopPlan):
        _check_weights("apply", m)
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
def em_p(
    weights: Array, means: Array, covariances: Array, *, plan: tuple[Array, ...]
) -> tuple[tuple[Array, ...], Any]:
    """Apply the plan of one EM step to (M, N) mixtures."""
    return kernels("em", weights).forward(weights, means, covariances, plan)


@em_p.defvjp
def _(residuals: Any, cotangents: tuple[Array, ...], needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
    return kernels("em", residuals[0]).vjp(residuals, *cotangents, needs)


@Primitive
def hem_p(
    weights: Array,
    means: Array,
    covariances: Array,
    *,
    plan: tuple[tuple[Array, ...], ...],
    values: Any = None,
) -> tuple[tuple[Array, ...], Any]:
    """Apply the plan of hierarchical EM to (M, N) mixtures; `values` is what planning has found already."""
    return kernels("hem", weights).forward(weights, means, covariances, plan, values)


@hem_p.defvjp
def _(residuals: Any, cotangents: tuple[Array, ...], needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
    return kernels("hem", residuals[0]).vjp(residuals, *cotangents, needs)


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


def _decide(op: str, m: Mixture, n: int, method: str, per_node: int) -> tuple[Plan, Any]:
    """Return the plan for n < N, and what the method finds of the result on the way, if anything."""
    arrays = flat(m.values())
    weights, shape, module = arrays[0], (*m.batch, m.n_components), kernels(method, arrays[0])
    if method in ("top", "em"):
        _check_weights(op, m)
    if method == "top":
        return TopPlan(n, shape, module.plan(weights, n)), None
    if n == 1:
        _check_one_sign(op, weights, m.batch)
    if method == "em":
        return EmPlan(n, shape, *module.plan(weights, n)), None
    with named_component(op, m):
        if method == "hem":
            levels, values = module.plan_and_forward(*arrays, n)
            return HemPlan(n, shape, tuple([Level(*level) for level in levels])), values
        found, values = module.plan_and_forward(*arrays, n, per_node)
    return TreePlan(n, shape, *found), values


def _check_weights(op: str, m: Mixture) -> None:
    weights = value_of(m.weights)
    if not namespace(weights).all(namespace(weights).isfinite(weights)):
        check_components(op, *m.values().to("cpu").arrays)


def _check_one_sign(op: str, weights: Array, batch: tuple[int, ...]) -> None:
    """Raise if one of the (M, N) mixtures, which stand for those of the shape `batch`, has both signs."""
    both = namespace(weights).any(weights > 0, axis=-1) & namespace(weights).any(weights < 0, axis=-1)
    for found in np.flatnonzero(to_device(both, "cpu")):
        where = [int(i) for i in np.unravel_index(found, batch)]
        raise ArgumentError(f"{op}: expected n >= 2 for mixture {where}, which has both signs, got n = 1")


def _carry_out(op: str, m: Mixture, plan: Plan, values: Any) -> Mixture:
    with named_component(op, m):
        if isinstance(plan, TreePlan):
            outputs = tree_hem_p(*flat(m), plan=plan.arrays, values=values)
        elif isinstance(plan, EmPlan):
            outputs = em_p(*flat(m), plan=plan.arrays)
        elif isinstance(plan, HemPlan):
            outputs = hem_p(*flat(m), plan=plan.arrays, values=values)
        elif isinstance(plan, TopPlan):
            outputs = top_p(*flat(m), indices=plan.indices)
        else:
            return m
    return Mixture(*(reshape(x, (*m.batch, *x.shape[1:])) for x in outputs))
