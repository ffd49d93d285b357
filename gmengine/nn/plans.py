"""Hold the discrete choices of a network's reductions, so that what remains is smooth."""

from __future__ import annotations

from typing import Any

from gmengine.errors import ArgumentError
from gmengine.mixture import Mixture
from gmengine.ops.reduce import apply, plan, reduce


class PlanBook:
    """Reductions that may be recorded and replayed, in the order of their calls.

    Parameters
    ----------
    plans : list, optional
        None: every reduction plans for itself. An empty list: it is filled with the plans made. A filled
        list: its plans are applied in turn, whatever the mixtures' values are by now.
    """

    def __init__(self, plans: list[Any] | None = None) -> None:
        self._plans = plans
        self._replay = iter(tuple(plans)) if plans else None

    def reduce(self, mixture: Mixture, n: int, per_node: int) -> Mixture:
        """Return `mixture` reduced to n components by TreeHEM; as it is if it has no more than n."""
        if n >= mixture.n_components:
            return mixture
        if self._plans is None:
            return reduce(mixture, n, method="tree_hem", per_node=per_node)
        if self._replay is None:
            self._plans.append(plan(mixture, n, method="tree_hem", per_node=per_node))
            return apply(mixture, self._plans[-1])
        held = next(self._replay, None)
        if held is None:
            raise ArgumentError(f"plans: {len(self._plans)} were recorded, the network asks for more")
        return apply(mixture, held)
