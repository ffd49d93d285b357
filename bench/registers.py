"""Compile every CUDA kernel for every architecture, without a GPU, and write down registers and spills.

    python -m bench.registers [--arch 75 90] [--house evaluate] [--json FILE] [--check FILE]

Needs the packages cupy-cuda13x, nvidia-cuda-nvrtc and nvidia-cuda-runtime. With ``--check`` it fails if a kernel of the
pair loops spills, a kernel compiles with a warning, or one that did not spill when the file was written does now.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from gmengine.cuda import _source

ARCHITECTURES = ("75", "80", "90", "120")
DIMS = (1, 2, 3, 4)
PAIR_LOOPS = re.compile(r"(evaluate|relu)_(forward_\d|vjp_points_\d|vjp_components)$")
"""Kernels that may never spill for K <= 3 in float32: they do the work."""

_ENTRY = re.compile(
    r"Compiling entry function '(\w+)'[^\n]*\n(.*?)(?=ptxas info\s+: Compiling|\Z)", re.DOTALL
)


class Job(NamedTuple):
    """One compilation."""

    house: str
    arch: str
    dim: int
    dtype: str


def compile_one(job: Job) -> dict[str, dict[str, int]]:
    """Return registers, bytes of spills and of static shared memory of every kernel; raise on a warning."""
    from cupy.cuda import nvrtc

    program = nvrtc.createProgram(_source.source(job.house), f"{job.house}.cu", (), ())
    options = (
        *_source.options(job.dim, job.dtype, **_source.DEFINES.get(job.house, {})),
        f"--gpu-architecture=sm_{job.arch}",
        "-ftz=true",  # CuPy's RawModule always adds it
        "--ptxas-options=-v",
    )
    try:
        nvrtc.compileProgram(program, options)
    except nvrtc.NVRTCError as error:
        raise RuntimeError(f"{job}: {error}\n{nvrtc.getProgramLog(program)}") from None
    log = nvrtc.getProgramLog(program)
    nvrtc.destroyProgram(program)
    if "warning" in log:
        raise RuntimeError(f"{job}:\n{log}")
    return {name: _figures(body) for name, body in _ENTRY.findall(log)}


def _figures(body: str) -> dict[str, int]:
    patterns = {
        "registers": r"Used (\d+) registers",
        "spills": r"(\d+) bytes spill stores",
        "shared": r"(\d+) bytes smem",
    }
    return {name: int(found[1]) if (found := re.search(text, body)) else 0 for name, text in patterns.items()}


def compile_all(houses: list[str], archs: list[str], workers: int) -> Iterator[tuple[str, dict[str, int]]]:
    """Yield ``"sm_90 float32 K=2 kernel"`` and its figures, for every kernel of every combination."""
    jobs = [Job(*job) for job in product(houses, archs, DIMS, _source.REAL)]
    with ProcessPoolExecutor(workers) as pool:
        for job, kernels in zip(jobs, pool.map(compile_one, jobs), strict=True):
            for kernel, figures in kernels.items():
                yield f"sm_{job.arch} {job.dtype} K={job.dim} {kernel}", figures


def complaints(found: dict[str, dict[str, int]], recorded: dict[str, dict[str, int]]) -> list[str]:
    """Return a line for each kernel that spills and must not."""
    lines = []
    for name, figures in found.items():
        _, dtype, dim, kernel = name.split()
        strict = PAIR_LOOPS.match(kernel) and dtype == "float32" and dim in ("K=1", "K=2", "K=3")
        allowed = 0 if strict else _most_spills(recorded.get(name))
        if figures["spills"] > allowed:
            lines.append(f"{name}: {figures['spills']} bytes of spills, allowed {allowed}")
    return lines


def _most_spills(before: dict[str, int] | None) -> float:
    """Another release of the compiler may place a few registers differently, and a new kernel has no past."""
    return float("inf") if before is None else 1.5 * before["spills"] + 64


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.registers", description=__doc__)
    parser.add_argument("--arch", nargs="+", default=list(ARCHITECTURES), choices=ARCHITECTURES)
    parser.add_argument("--house", nargs="+", default=list(_source.FILES), choices=_source.FILES)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", type=Path)
    given = parser.parse_args(arguments)
    found: dict[str, dict[str, int]] = {}
    for name, figures in compile_all(given.house, given.arch, given.workers):
        found[name] = figures
        print(f"{name:64s} " + "  ".join(f"{key} {value}" for key, value in figures.items()))
    if given.json:
        _write(given.json, found)
    recorded = json.loads(given.check.read_text())["kernels"] if given.check else {}
    wrong = complaints(found, recorded) if given.check else []
    print(f"{len(found)} kernels compiled", *wrong, sep="\n")
    return 1 if wrong else 0


def _write(path: Path, found: dict[str, Any]) -> None:
    from cupy.cuda import nvrtc

    text = json.dumps({"nvrtc": ".".join(map(str, nvrtc.getVersion())), "kernels": found}, indent=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text + "\n")
    temporary.replace(path)


if __name__ == "__main__":
    sys.exit(main())
