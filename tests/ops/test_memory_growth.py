"""No kernel allocates what grows with the number of pairs: four times the components, four times the memory.

Scratch that compiled code allocates is not seen by tracemalloc: what is measured is resident memory of another process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SMALL, LARGE = 3000, 12000
SLACK = 32e6  # bytes: pages, buffers of fixed size, up to 32 slices of a mixture; a byte for each pair would be 144e6
MASKS = LARGE**2 / 20  # of hem: bits that belong to its plan

OPS = [
    *("evaluate", "relu", "convolve", "product", "l2_distance", "density_gradient", "density_hessian"),
    *("render", "moments", "tree_hem", "em", "hem", "top"),
    *("tree_hem to a quarter", "em to a quarter", "hem to a quarter", "top to a quarter"),
]


def measured(ops):
    """Return the peaks of the ops, forward and with gradients, at both sizes."""
    command = [sys.executable, "tests/ops/memory_peaks.py", str(SMALL), str(LARGE), *ops]
    environ = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}  # glibc gives back what is freed at once
    done = subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def peaks():
    """Measure all ops in one process, or where its peak cannot be reset, each in its own."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return {op: measured([op])[op] for op in OPS}
    return measured(OPS)


@pytest.mark.skipif(sys.platform == "win32", reason="no module `resource`")
@pytest.mark.parametrize("op", OPS)
def test_resident_memory_is_linear_in_the_number_of_components(op, peaks):
    small, large = peaks[op]
    allowed = 4 * small + SLACK + (MASKS if op.startswith("hem") else 0)
    assert large < allowed, f"{small / 1e6:.1f} MB grew to {large / 1e6:.1f} MB"
