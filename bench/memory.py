"""How much memory a training step takes beside what its tape has to hold; measured in a process of its own.

Compiled kernels allocate scratch that Python does not see, hence the peak is that of the process, in resident bytes.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gmengine.autograd import Tape, Tensor
from gmengine.nn import Network

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def measured(spec: str, dim: int, batch: int) -> dict[str, int]:
    """Return the bytes of `step_memory`, found by a new process."""
    environ = os.environ | {
        "MALLOC_MMAP_THRESHOLD_": "65536"
    }  # what is freed goes back to the system at once
    command = [sys.executable, "-m", "bench.memory", spec, str(dim), str(batch)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def step_memory(spec: str, dim: int, batch: int) -> dict[str, int]:
    """Return in bytes: the peak of a step, of the process and of what Python sees, what the tape held, appendix A."""
    from bench.workload import training_step

    training_step(spec, dim, 2)[1]()  # compiles, and fills caches
    net, step = training_step(spec, dim, batch)
    found = {"appendix_a": appendix_a(net, batch), "peak": resident_peak(step)}
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    step()
    found["peak_seen_by_python"] = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    found["tape"] = held_bytes(step)
    return found


def resident_peak(function: Callable[[], Any]) -> int:
    """Return by how many bytes the process grew at most while `function` ran.

    Linux lets a process reset its peak. Elsewhere the peak is that of all its life: only growth beyond it is seen.
    """
    gc.collect()
    try:
        CLEAR.write_text("5")
    except OSError:
        before = _largest_ever()
        function()
        return _largest_ever() - before
    getattr(ctypes.CDLL(None), "malloc_trim", id)(0)  # glibc gives back what is free
    before = _status("VmRSS")
    CLEAR.write_text("5")  # VmHWM starts again at what is resident now
    function()
    return _status("VmHWM") - before


def _largest_ever() -> int:
    import resource

    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else 1024 * size


def _status(name: str) -> int:
    (line,) = [x for x in STATUS.read_text().splitlines() if x.startswith(name + ":")]
    return 1024 * int(line.split()[1])


def held_bytes(step: Callable[[], Any]) -> int:
    """Return the bytes of all distinct arrays that the largest tape of `step` holds when it is first walked back."""
    found = 0
    walk_back = Tape.pull_back

    def counted(tape: Tape, *args: Any, **options: Any) -> Any:
        nonlocal found
        held = {id(a): a.nbytes for entry in tape._entries for a in buffers(entry.residuals)}
        found = max(found, sum(held.values()))
        return walk_back(tape, *args, **options)

    Tape.pull_back = counted  # type: ignore[method-assign]
    try:
        step()
    finally:
        Tape.pull_back = walk_back  # type: ignore[method-assign]
    return found


def buffers(tree: Any) -> Iterator[np.ndarray]:
    """Yield the arrays of a structure of residuals; of a view, the array whose memory it looks at."""
    if isinstance(tree, Tensor):
        tree = tree.value
    if isinstance(tree, np.ndarray):
        while isinstance(tree.base, np.ndarray):
            tree = tree.base
        yield tree
    elif isinstance(tree, dict):
        yield from buffers(tuple(tree.values()))
    elif isinstance(tree, list | tuple):
        for child in tree:
            yield from buffers(child)


def appendix_a(net: Network, batch: int) -> int:
    """Return the bytes of the paper's appendix A: kernels and every layer's mixtures, unfused, all with gradients.

    2 (K + D) Gaussians a layer, K = F_i F_o N_k and D = B F_o (N_o + N_p), with N_o = N_i F_i N_k components before the
    reduction and N_p after it, each a weight, a mean and half a symmetric matrix of 4 bytes.
    """
    total = 0
    for i in range(len(net.channels) - 1):
        inputs, outputs = net.channels[i : i + 2]
        before, after = net.components[i : i + 2]
        kernels = inputs * outputs * net.kernel_components
        total += 2 * (
            kernels + batch * outputs * ((before or 0) * inputs * net.kernel_components + (after or 0))
        )
    return total * 4 * (1 + net.dim + net.dim * (net.dim + 1) // 2)


def main() -> None:
    """Print `step_memory` as JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__.split("\n")[0])
    parser.add_argument("layers", metavar="SPEC", help="the network")
    parser.add_argument("dim", type=int, help="dimensions of space")
    parser.add_argument("batch", type=int, help="samples in a step")
    arguments = parser.parse_args()
    print(json.dumps(step_memory(arguments.layers, arguments.dim, arguments.batch)))


if __name__ == "__main__":
    main()
