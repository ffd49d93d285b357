"""Show versions, threads, GPU, folders and data sets, and how to mend what is missing."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from gmengine import __version__
from gmengine.backend import cupy_packages, to_device
from gmengine.data import DATASETS, cache_folder
from gmengine.errors import BackendError
from gmengine.threads import asked_threads, available_cores

_PACKAGES = (
    "numpy",
    "numba",
    "array-api-compat",
    "threadpoolctl",
    "scipy",
    "scikit-learn",
    "matplotlib",
    "rich",
)
_VARIABLES = re.compile(r"GMENGINE_|NUMBA_|OMP_NUM|CUDA_VISIBLE|CUPY_CACHE|XDG_CACHE")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Print what `facts` found."""
    found = facts()
    if arguments.json:
        print(json.dumps(found, indent=1))
        return 0
    for section, content in found.items():
        print(section)
        for name, value in content.items():
            print(f"  {name:<18} {value if value is not None else '-'}")
    return 0


def facts() -> dict[str, dict[str, Any]]:
    """Return everything that a report of a problem should carry."""
    return {
        "versions": {
            "gmengine": __version__,
            "python": platform.python_version(),
            **{name: _version(name) for name in _PACKAGES},
        },
        "machine": {
            "system": platform.platform(),
            "cpu": _cpu_name(),
            "cores": os.cpu_count(),
            "cores available": available_cores(),
            "threads": asked_threads(),
        },
        "gpu": _gpu(),
        "folders": {"package": str(Path(__file__).parents[1]), "cache": str(cache_folder())},
        "data sets": {name: entry.summary for name, entry in DATASETS.items()},
        "environment": {name: os.environ[name] for name in sorted(os.environ) if _VARIABLES.match(name)},
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu_name() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or platform.machine()
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return match[1] if match else platform.machine()


def _gpu() -> dict[str, Any]:
    """What CuPy can use, or the one command that mends it."""
    wheels = cupy_packages()
    report: dict[str, Any] = {"cupy": ", ".join(f"{name} {found}" for name, found in wheels.items()) or None}
    driver = _driver()
    report["driver"] = driver or None
    if len(wheels) > 1:
        # Two wheels overwrite each other's files; removing one leaves the other broken.
        report["usable"] = "no: two CuPy packages are installed, and they overwrite each other"
        report["mend"] = f"pip uninstall -y {' '.join(wheels)} && pip install {_extra(driver)}"
        return report
    try:
        to_device(np.zeros(1), "cuda")
    except BackendError as error:
        report["usable"] = f"no: {' '.join(str(error).split())}"
        if driver:
            report["mend"] = f"pip install {_extra(driver)}"
        return report
    runtime = sys.modules["cupy"].cuda.runtime
    names = [runtime.getDeviceProperties(i)["name"].decode() for i in range(runtime.getDeviceCount())]
    report["usable"] = "yes"
    report["devices"] = ", ".join(f"cuda:{i} {name}" for i, name in enumerate(names))
    return report


def _extra(driver: str) -> str:
    return "'gmengine[cuda13x]'" if driver.startswith("CUDA 13") else "'gmengine[cuda12x]'"


def _driver() -> str:
    """The newest CUDA that the NVIDIA driver serves, as "CUDA 12.4", or "" without a driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    try:
        done = subprocess.run([program], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    match = re.search(r"CUDA Version:\s*([\d.]+)", done.stdout)
    return f"CUDA {match[1]}" if match else ""
