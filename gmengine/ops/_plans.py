"""What reductions decide: integers only, hence without a gradient by their type."""

from __future__ import annotations

from dataclasses import dataclass

from gmengine.backend import Array


@dataclass(frozen=True, eq=False)
class Plan:
    """Which components a reduction makes of which.

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


@dataclass(frozen=True, eq=False)
class EmPlan(Plan):
    """The decisions of ``"em"`` for M flattened mixtures."""

    order: Array
    """(M, N): the present components, positive ones first; -1 past the end."""
    ends: Array
    """(M, 2): where in `order` the positive and the negative components end."""
    parents: Array
    """(M, n): the places in `order` of the components from which the result starts; -1 if all are kept as they are."""
    parent_ends: Array
    """(M, 2): where in `parents` those of positive and of negative components end."""

    @property
    def arrays(self) -> tuple[Array, ...]:
        """The integer arrays, in the order in which they are declared."""
        return self.order, self.ends, self.parents, self.parent_ends


@dataclass(frozen=True, eq=False)
class Level:
    """The decisions of one level of ``"hem"``, from at most P components of M flattened mixtures to at most n."""

    order: Array
    """(M, P): the level's components along the Morton curve, positive ones first; -1 past the end.

    Those of the first level are the components of the mixture, those of another what the level before it fitted.
    """
    ends: Array
    """(M, 2): where in `order` the positive and the negative components end."""
    parents: Array
    """(M, n): the places in `order` of the components from which the fit starts; -1 where the level does nothing."""
    parent_ends: Array
    """(M, 2): where in `parents` those of positive and of negative components end."""
    masks: Array
    """(M, n, words): as bits of 64, the components of its sign, along the curve, that each parent may take."""

    @property
    def arrays(self) -> tuple[Array, ...]:
        """The integer arrays, in the order in which they are declared."""
        return self.order, self.ends, self.parents, self.parent_ends, self.masks


@dataclass(frozen=True, eq=False)
class HemPlan(Plan):
    """The decisions of ``"hem"``."""

    levels: tuple[Level, ...]
    """From the mixture to the result."""

    @property
    def arrays(self) -> tuple[tuple[Array, ...], ...]:
        """The integer arrays of each level."""
        return tuple([level.arrays for level in self.levels])
