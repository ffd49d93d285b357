"""A training step needs little more memory than what its tape has to hold."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def bytes_of_a_step():
    command = [sys.executable, "-m", "bench.memory", "1/32 -> 8/8 -> 10", "2", "64"]
    environ = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}  # glibc gives back what is freed at once
    done = subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(sys.platform == "win32", reason="no module `resource`")
@pytest.mark.parametrize("peak", ["peak", "peak_seen_by_python"])
def test_the_peak_of_a_step_is_at_most_twice_what_the_tape_holds(peak, bytes_of_a_step):
    assert bytes_of_a_step["tape"] > 5e6  # large enough for pages and caches to be little beside it
    assert bytes_of_a_step[peak] < 2 * bytes_of_a_step["tape"]
