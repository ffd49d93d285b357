"""Time the CUDA kernels and a training step with events, beside the card's own bounds and PyTorch.

    python -m bench --device cuda [--json bench/results/<card>.json]
    python -m bench --device host --smoke          the same code on a CPU, through tests/cuda: does it still run?

A pair loop is bound by the float32 pipes: 128 operations per clock and multiprocessor, counted below per pair. Convolve
is bound by bytes: it is compared with a copy on the card of as many bytes as it writes.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import gmengine as gm
from bench.harness import random_mixture
from bench.memory import appendix_a
from bench.workload import training_step
from gmengine.backend import to_device
from gmengine.deferred import deferred_checks
from gmengine.ops.reduce import METHODS

OPERATIONS = {("evaluate", 2): 8 + 1, ("evaluate", 3): 13 + 1, ("relu", 2): 9 + 1, ("relu", 3): 14 + 1}
"""Issue slots per pair, (op, K): float32 operations and one base-2 exponential; docs/cuda.md counts them."""

PER_CLOCK = (
    128  # float32 operations that a multiprocessor issues per clock, of every architecture from sm_86 on
)
MAIN_NETWORK = "1/128 -> 8/64 -> 16/32 -> 32/16 -> 64/8 -> 10"


class Card(NamedTuple):
    """What bounds are computed from; zeros on a CPU."""

    name: str
    multiprocessors: int
    hertz: float

    @property
    def issue_rate(self) -> float:
        """Float32 operations per second."""
        return self.multiprocessors * self.hertz * PER_CLOCK


def main(device: str, smoke: bool, repeats: int, path: Path | None) -> None:
    """Run every case, print it, and write all of them to `path`."""
    with ExitStack() as stack:
        on_host = device == "host"
        if on_host:
            sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "cuda"))
            from as_backend import cuda_houses_on_host

            stack.enter_context(cuda_houses_on_host())
        else:
            stack.enter_context(to_device(np.zeros(1), device).device)  # events belong to the current device
        card = Card("the CPU, by way of g++", 0, 0.0) if on_host else _card()
        where, clock = ("cpu", _wall_clock) if on_host else (device, _events)
        print(card.name)
        results = [
            *_pair_loops(where, clock, card, smoke, repeats),
            *_other_ops(where, clock, smoke, repeats),
            *_steps(where, clock, smoke, repeats),
        ]
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        text = json.dumps({"card": card._asdict(), "versions": _versions(), "results": results}, indent=1)
        temporary.write_text(text + "\n")
        temporary.replace(path)


def _card() -> Card:
    import cupy

    device = cupy.cuda.Device()
    name = cupy.cuda.runtime.getDeviceProperties(device.id)["name"].decode()
    numbers = device.attributes
    return Card(name, numbers["MultiProcessorCount"], numbers["ClockRate"] * 1e3)


def _versions() -> dict[str, str]:
    found = {"gmengine": gm.__version__}
    for name in ("cupy", "torch"):
        if name in sys.modules:
            found[name] = getattr(sys.modules[name], "__version__", "stand-in")
    return found


def _events(run: Callable[[], Any], repeats: int) -> list[float]:
    """Seconds of each run on the card, checks of values left out, after a warm-up that compiles."""
    import cupy

    seconds = []
    for i in range(repeats + 2):
        start, stop = cupy.cuda.Event(), cupy.cuda.Event()
        with deferred_checks():
            start.record()
            run()
            stop.record()
        stop.synchronize()
        if i >= 2:
            seconds.append(cupy.cuda.get_elapsed_time(start, stop) * 1e-3)
    return seconds


def _settled(run: Callable[[], Any]) -> None:
    """Run as a training loop does: the host waits for the card once, at the end."""
    with deferred_checks():
        run()


def _wall_clock(run: Callable[[], Any], repeats: int) -> list[float]:
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return seconds


Clock = Callable[[Callable[[], Any], int], list[float]]


def _result(name: str, seconds: list[float], work: float, unit: str, **more: Any) -> dict[str, Any]:
    median = statistics.median(seconds)
    line = f"{name:<62} {median * 1e3:10.3f} ms {work / median:10.3g} {unit}/s"
    print(line, *(f"  {key} {value:.3g}" for key, value in more.items()), flush=True)
    return {
        "name": name,
        "median_seconds": median,
        "min_seconds": min(seconds),
        "unit": unit,
        "rate": work / median,
    } | more


def _pair_loops(where: str, clock: Clock, card: Card, smoke: bool, repeats: int) -> Iterator[dict[str, Any]]:
    sizes = [(2, 2, 20)] if smoke else [(2, 1344, 320), (2, 168, 1280), (3, 1344, 320), (3, 168, 1280)]
    for dim, count, n in sizes:
        mixture = random_mixture((count,), n, dim).to(where)
        pairs = float(count * n * n)
        for op, forward in (("evaluate", lambda m: gm.evaluate(m, m.means)), ("relu", gm.relu)):
            label = f"K={dim} {count}x{n}"
            seconds = clock(lambda f=forward, m=mixture: f(m), repeats)
            most = card.issue_rate / OPERATIONS[op, dim]
            bound = {"of_bound": pairs / statistics.median(seconds) / most} if most else {}
            yield _result(
                f"{op} {label}", seconds, pairs, "pairs", **bound, **_torch(op, mixture, False, repeats)
            )

            def loss(m: gm.Mixture, f: Callable[[Any], Any] = forward) -> Any:
                out = f(m)
                return (out.weights if isinstance(out, gm.Mixture) else out).sum()

            both = clock(lambda f=loss, m=mixture: gm.value_and_grad(f)(m), repeats)
            times = {"of_forward": statistics.median(both) / statistics.median(seconds)}
            yield _result(
                f"{op}+vjp {label}", both, pairs, "pairs", **times, **_torch(op, mixture, True, repeats)
            )


def _torch(op: str, mixture: gm.Mixture, gradients: bool, repeats: int) -> dict[str, float]:
    """Return milliseconds of torch.compile on the same card, of the better form, if it is installed for one."""
    if type(mixture.weights).__module__.partition(".")[0] != "cupy":
        return {}
    try:
        import torch

        from bench.peers import formulas
    except ImportError:
        return {}
    if not torch.cuda.is_available():
        return {}
    arrays = [torch.as_tensor(a, device=mixture.device).requires_grad_(gradients) for a in mixture.arrays]
    arrays += [arrays[1]] if op == "evaluate" else []  # as ours: means get gradients as points too
    best = float("inf")
    for form in formulas.FORMS:
        torch._dynamo.reset()
        run = torch.compile(lambda *x, f=form: getattr(formulas, op)(torch, f, *x))
        for i in range(repeats + 2):
            start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            out = run(*arrays)
            if gradients:
                torch.autograd.grad(out.sum(), arrays[:3])
            stop.record()
            torch.cuda.synchronize()
            if i >= 2:
                best = min(best, start.elapsed_time(stop))
    return {"torch_ms": best}


def _other_ops(where: str, clock: Clock, smoke: bool, repeats: int) -> Iterator[dict[str, Any]]:
    batch, n, dim = ((2, 2), 12, 2) if smoke else ((21, 8), 64, 3)
    data = random_mixture(batch, n, dim).to(where)
    kernel = random_mixture((2 * batch[1], batch[1]), 5, dim, seed=1).to(where)
    made = gm.convolve(data, kernel)
    size = float(sum(a.nbytes for a in made.arrays))
    copy = statistics.median(clock(lambda: [a.copy() for a in made.arrays], repeats))
    seconds = clock(lambda: gm.convolve(data, kernel), repeats)
    # a copy reads what it writes, a convolution hardly reads
    yield _result(f"convolve K={dim}", seconds, size, "bytes", of_copy=copy / statistics.median(seconds))
    wide, few = (random_mixture((4,), 40, 2), 6) if smoke else (random_mixture((1344,), 320, 3), 32)
    wide = wide.to(where)
    components = float(wide.weights.size)
    for method in METHODS:

        def both(m: gm.Mixture, method: str = method) -> Any:
            return gm.integrate(gm.reduce(m, few, method=method)).sum()

        label = f"K={wide.dim} {len(wide)}x{wide.n_components} -> {few}"
        seconds = clock(lambda f=method: gm.reduce(wide, few, method=f), repeats)
        yield _result(f"reduce {method} {label}", seconds, components, "components")
        seconds = clock(lambda f=both: gm.value_and_grad(f)(wide), repeats)
        yield _result(f"reduce+vjp {method} {label}", seconds, components, "components")
    seconds = clock(lambda: gm.product(wide, wide), repeats)
    yield _result(f"product {wide.n_components}^2 pairs", seconds, components * wide.n_components, "pairs")


def _steps(where: str, clock: Clock, smoke: bool, repeats: int) -> Iterator[dict[str, Any]]:
    """The paper's main 3D network: time by events, time on the wall, the pool's peak, and whether bits repeat."""
    spec, batch = ("1/6 -> 2/3 -> 4", 4) if smoke else (MAIN_NETWORK, 21)
    net, step = training_step(spec, 3, batch, device=where)
    seconds = clock(step, repeats)
    more: dict[str, float] = {}
    if where != "cpu":
        import cupy

        pool = cupy.get_default_memory_pool()
        pool.free_all_blocks()
        before = pool.total_bytes()
        step()
        cupy.cuda.Device().synchronize()
        more = {"peak_bytes": float(pool.total_bytes() - before)}
        more["of_appendix_a"] = more["peak_bytes"] / appendix_a(net, batch)
        more["wall_ms"] = 1e3 * statistics.median(_wall_clock(lambda: _settled(step), repeats))
    yield _result(f"training step {spec} K=3 batch {batch}", seconds, float(batch), "samples", **more)
