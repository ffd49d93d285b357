"""Run the real command in its own process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import gmengine

QUICK = ("--layers", "1/8 -> 4/4 -> 10", "--limit-train", "96", "--batch-size", "16")
Command = Callable[..., subprocess.CompletedProcess[str]]


def environment(cache: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GMENGINE_")}
    packages = os.pathsep.join([str(Path(gmengine.__file__).parents[1]), kept.get("PYTHONPATH", "")])
    return kept | {"GMENGINE_CACHE_DIR": str(cache), "GMENGINE_NUM_THREADS": "1", "PYTHONPATH": packages}


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def start(cache: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start ``gmengine ...`` in `cwd` and return the process."""

    def start(*arguments: object, cwd: Path, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "gmengine", *map(str, arguments)],
            cwd=cwd,
            env=environment(cache) | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture(scope="session")
def gmengine_command(start: Callable[..., subprocess.Popen[str]]) -> Command:
    """Run ``gmengine ...`` in `cwd` to its end."""

    def run(*arguments: object, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        with start(*arguments, cwd=cwd, **variables) as process:
            out, err = process.communicate(timeout=300)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    return run


@pytest.fixture
def quick() -> tuple[str, ...]:
    """Flags that make a training on the digits short."""
    return QUICK


@pytest.fixture(scope="session")
def finished(gmengine_command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of three short epochs."""
    folder = tmp_path_factory.mktemp("finished")
    done = gmengine_command("train", "digits", *QUICK, "--epochs", 3, "--out", "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "run"
