"""How many threads a run uses: gmengine's kernels and the BLAS beneath NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gmengine.threads import asked_threads, kernel_threads
from gmengine.threads import requested_threads as requested_threads


@contextmanager
def limited_threads(count: int | None = None) -> Iterator[int]:
    """Run a block with `count` threads and put back what was there; yield the number in use.

    Without a `count` it is what `gmengine.threads` says, with the environment read afresh. A count above the
    machine's cores is lowered to them. The same count gives the same bits.

    Raises
    ------
    ArgumentError
        If the count, or the environment's, is not a positive whole number.
    """
    from threadpoolctl import threadpool_limits

    with (
        kernel_threads(asked_threads() if count is None else count) as used,
        threadpool_limits(limits=used, user_api="blas"),
    ):
        yield used
