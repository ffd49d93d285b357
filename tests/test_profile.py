"""The profile of a training step: its parts are the whole, and nothing stays wrapped."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gmengine.testing import assert_close

ROOT = Path(__file__).parent.parent

LEFT_AS_IT_WAS = """
from bench.profile import profile
from bench.stopwatch import Stopwatch, watching
from gmengine.autograd import Primitive, Tape
from gmengine.cpu import _compile, relu
from gmengine.ops.relu import relu_p
from gmengine.training import loop

def seen():
    return [Primitive.__call__, Tape.pull_back, _compile.share, relu.forward, relu_p.forward, relu_p._vjp, loop.batches]

before = seen()
with watching(Stopwatch()):
    assert not any(a is b for a, b in zip(before, seen()))
assert all(a is b for a, b in zip(before, seen()))
"""


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    path = tmp_path_factory.mktemp("profile") / "figures.json"
    layers = ["--layers", "1/6 -> 2/3 -> 4", "--batch", "4", "--steps", "2"]
    command = [sys.executable, "-m", "bench.profile", *layers, "--json", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(path.read_text())["results"][0]


def test_the_parts_of_a_step_add_up_to_it(figures):
    _, result = figures
    parts = [seconds for part in result["parts"].values() for seconds in part.values()]
    assert all(seconds >= 0.0 for seconds in parts)
    assert_close("sum", np.asarray(sum(parts)), np.asarray(result["step_seconds"]), size=len(parts))
    assert_close("elementwise", np.asarray(4 * result["sample_seconds"]), np.asarray(result["step_seconds"]))


def test_every_kernel_of_the_network_is_seen_in_both_directions(figures):
    text, result = figures
    for op, layers in (("convolve", 2), ("relu", 2), ("tree_hem", 1)):
        assert result["calls"][f"{op}: loops"]["forward"] >= layers
        assert result["calls"][f"{op}: loops"]["vjp"] >= layers
        assert f"{op}: loops" in text
    assert result["calls"]["Adam"]["forward"] == 1
    assert {"peak", "tape", "appendix_a"} <= result["bytes"].keys()


def test_nothing_stays_wrapped_after_a_profile():
    done = subprocess.run([sys.executable, "-c", LEFT_AS_IT_WAS], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
