"""The one door to the GPU: compile a kernel for one dimension and dtype, check its arguments, launch it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache, wraps
from typing import Any

import cupy
import numpy as np

from gmengine.cuda import _source
from gmengine.errors import ArgumentError, BackendError, DTypeError

BLOCK = 128
"""Threads per block, unless a kernel says otherwise."""

launches: Counter[str] = Counter()
"""How often each kernel has been launched by this process: proof that it ran."""

_SMALL_SHARED = 48 * 1024  # bytes of dynamic shared memory that a kernel may have without asking for more


def launch(
    file: str,
    kernel: str,
    blocks: int,
    args: Sequence[Any],
    *,
    dim: int,
    dtype: Any,
    block: int = BLOCK,
    shared: int = 0,
    **defines: int,
) -> None:
    """Run `kernel` of ``<file>.cu`` on the current stream, in `blocks` blocks of `block` threads.

    Parameters
    ----------
    args : arrays and numbers
        Arrays must be C-contiguous (a kernel sees no strides), and the floating ones float64 or of `dtype`. An
        integer arrives as ``int``, a float as ``double``.
    dim, dtype
        What ``GM_DIM`` and ``GM_REAL`` are; `defines` become further macros.
    shared : int
        Bytes of dynamic shared memory.

    Raises
    ------
    ArgumentError, DTypeError, OverflowError
        If an array has strides or another dtype, or a number or the grid does not fit.
    """
    if blocks == 0:
        return
    if blocks > 2**31 - 1:
        raise OverflowError(f"{kernel}: {blocks} blocks are more than a grid can have")
    name = np.dtype(dtype).name
    values = tuple(_argument(kernel, i, a, name) for i, a in enumerate(args))
    more = shared if shared > _SMALL_SHARED else 0
    device = next(a.device.id for a in values if isinstance(a, cupy.ndarray))
    function = _function(file, kernel, dim, name, tuple(sorted(defines.items())), more, device)
    function((blocks,), (block,), values, shared_mem=shared)
    launches[kernel] += 1


def _argument(kernel: str, position: int, value: Any, dtype: str) -> Any:
    if isinstance(value, cupy.ndarray):
        if not value.flags.c_contiguous:
            raise ArgumentError(f"{kernel}: argument {position}, of shape {value.shape}, is not C-contiguous")
        if value.dtype.kind == "f" and value.dtype.name not in (dtype, "float64"):
            raise DTypeError(f"{kernel}: argument {position} is {value.dtype}, expected {dtype} or float64")
        return value
    if isinstance(value, bool | np.bool_ | int | np.integer):
        number = int(value)
        if not -(2**31) <= number < 2**31 - 4096:  # kernels round sizes up to whole blocks
            raise OverflowError(f"{kernel}: argument {position}, {number}, does not fit into 32 bits")
        return np.int32(number)  # a Python int would be passed as 64 bits
    if isinstance(value, float | np.floating):
        return np.float64(value)
    raise DTypeError(
        f"{kernel}: argument {position} is neither an array nor a number but {type(value).__name__}"
    )


@cache
def _module(file: str, dim: int, dtype: str, defines: tuple[tuple[str, int], ...]) -> Any:
    options = _source.options(dim, dtype, **dict(defines))
    return cupy.RawModule(code=_source.source(file), options=options)


@cache
def _function(
    file: str,
    kernel: str,
    dim: int,
    dtype: str,
    defines: tuple[tuple[str, int], ...],
    shared: int,
    device: int,
) -> Any:
    """Return the kernel, allowed on this device to have so much dynamic shared memory (0: what all may have)."""
    function = _module(file, dim, dtype, defines).get_function(kernel)
    if shared:
        function.max_dynamic_shared_size_bytes = shared
    return function


def ready(array: Any) -> Any:
    """Return the array C-contiguous, itself if it is so already."""
    return cupy.ascontiguousarray(array)


def on_device(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a house's function run on the device of its arrays: allocations, kernels and the current stream.

    Raises
    ------
    BackendError
        If its arrays, those in tuples included, lie on more than one device.
    """

    @wraps(function)
    def wrapper(*args: Any, **options: Any) -> Any:
        arrays = list(_arrays((*args, *options.values())))
        devices = {array.device.id for array in arrays}
        if len(devices) > 1:
            name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
            raise BackendError(f"{name}: expected arrays of one device, got cuda {sorted(devices)}")
        if not arrays:
            return function(*args, **options)
        with arrays[0].device:
            return function(*args, **options)

    return wrapper


def _arrays(values: Any) -> Iterator[Any]:
    for value in values:
        if isinstance(value, cupy.ndarray):
            yield value
        elif isinstance(value, tuple):
            yield from _arrays(value)


def blocks_for(threads: int, block: int = BLOCK) -> int:
    """Return the number of blocks that hold so many threads."""
    return -(-threads // block)
