"""What users would take instead: the same work by other libraries, in the same process run.

A peer is a module here with ``versions() -> dict`` and functions named as ops, such as ``relu(mixture, gradients)`` and
``reduce_em(mixture, n, gradients)``. They prepare the inputs in the peer's own form and return a function without
arguments that does the work and returns its values as a NumPy array or, for mixtures, a tuple of them (with gradients:
all are computed, that of the first input's weights is returned), or None for what the peer cannot do. A yardstick
returns no values. A peer that is not installed raises ImportError.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

NAMES = ("limit", "numpy_arrays", "scikit_learn", "scikit_learn_fits", "jax_jit", "torch_compile", "keops")


def available() -> tuple[dict[str, ModuleType], dict[str, str]]:
    """Return the peers that can be used, and the reasons why others cannot."""
    found, missing = {}, {}
    for name in NAMES:
        try:
            found[name] = import_module(f"bench.peers.{name}")
        except ImportError as error:
            missing[name] = str(error)
    return found, missing
