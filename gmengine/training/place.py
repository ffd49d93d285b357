"""On which GPU is computed: CuPy's array functions allocate on the current one, not where their operands lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from gmengine.backend import Array

Rest = ParamSpec("Rest")
Result = TypeVar("Result")


def place_of(arrays: Mapping[str, Array]) -> AbstractContextManager[Any]:
    """Return the context in which the device of `arrays` is the current one; on the CPU it does nothing."""
    device = getattr(next(iter(arrays.values()), None), "device", None)
    return device if isinstance(device, AbstractContextManager) else nullcontext()


def in_place(
    function: Callable[Concatenate[Any, Any, Rest], Result],
) -> Callable[Concatenate[Any, Any, Rest], Result]:
    """Let a function of a learner and its progress compute on the device of the progress."""

    @wraps(function)
    def run(learner: Any, progress: Any, *rest: Rest.args, **options: Rest.kwargs) -> Result:
        with place_of(progress.model.params):
            return function(learner, progress, *rest, **options)

    return run
