"""Between public functions, which know batch shapes, and kernels, which know one batch axis of length M."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

from gmengine.errors import NonFiniteError, NotPositiveDefinite
from gmengine.mixture import Mixture, check_components


def flat(m: Mixture) -> tuple[Any, Any, Any]:
    """Return weights (M, N), means (M, N, K) and covariances (M, N, K, K); gradients flow back."""
    return m.reshape((prod(m.batch),)).arrays


@contextmanager
def named_component(op: str, m: Mixture) -> Iterator[None]:
    """Name the invalid component that a kernel found in the flattened mixtures by its index in `m`."""
    try:
        yield
    except (NonFiniteError, NotPositiveDefinite):
        check_components(op, *m.values().to("cpu").arrays)
        raise
