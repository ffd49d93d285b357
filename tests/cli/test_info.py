"""What info makes of the CuPy packages and drivers that a machine may have."""

from __future__ import annotations

import pytest

from gmengine.cli import info
from gmengine.errors import BackendError


def unusable(array, device):
    raise BackendError("device 'cuda' needs CuPy,\nwhich cannot be imported")


@pytest.fixture
def machine(monkeypatch):
    def machine(wheels, driver, move=unusable):
        monkeypatch.setattr(info, "cupy_packages", lambda: wheels)
        monkeypatch.setattr(info, "_driver", lambda: driver)
        monkeypatch.setattr(info, "to_device", move)
        return info._gpu()

    return machine


@pytest.mark.parametrize(
    ("driver", "command"),
    [
        ("CUDA 12.4", "pip install 'gmengine[cuda12x]'"),
        ("CUDA 13.0", "pip install 'gmengine[cuda13x]'"),
    ],
)
def test_a_missing_cupy_is_mended_by_the_wheel_for_the_driver(machine, driver, command):
    found = machine({}, driver)
    assert found["mend"] == command
    assert found["usable"] == "no: device 'cuda' needs CuPy, which cannot be imported"


def test_without_a_driver_no_command_can_mend_it(machine):
    found = machine({"cupy-cuda12x": "14.2"}, "")
    assert found["cupy"] == "cupy-cuda12x 14.2"
    assert "mend" not in found


def test_two_wheels_at_once_are_found_and_both_removed(machine):
    found = machine({"cupy-cuda12x": "14.2", "cupy-cuda13x": "14.2"}, "CUDA 13.0", lambda a, d: a)
    assert "overwrite each other" in found["usable"]
    assert found["mend"] == ("pip uninstall -y cupy-cuda12x cupy-cuda13x && pip install 'gmengine[cuda13x]'")


def test_the_driver_is_read_from_nvidia_smi(monkeypatch, tmp_path):
    program = tmp_path / "nvidia-smi"
    program.write_text(
        "#!/bin/sh\necho '| NVIDIA-SMI 550.54   Driver Version: 550.54   CUDA Version: 12.4 |'\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(info.shutil, "which", lambda name: str(program))
    assert info._driver() == "CUDA 12.4"
    program.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'; exit 9\n")
    assert info._driver() == ""
    monkeypatch.setattr(info.shutil, "which", lambda name: None)
    assert info._driver() == ""
