"""Steps, epochs and predictions compute where the parameters are; CuPy would allocate on its current device."""

from __future__ import annotations

import numpy as np
import pytest

from gmengine.training import Learner, RunConfig, run_epoch, train_epoch, train_step
from gmengine.training.checkpoint import make_network
from gmengine.training.metrics import predict
from gmengine.training.place import place_of


class Device:
    """A GPU as CuPy shows it: a context manager that knows whether it is the current one."""

    depth = 0

    def __enter__(self) -> Device:
        self.depth += 1
        return self

    def __exit__(self, *error: object) -> None:
        self.depth -= 1


class Parameter:
    def __init__(self, device: Device) -> None:
        self.device = device


def test_the_device_of_the_arrays_is_entered():
    device = Device()
    with place_of({"a": Parameter(device), "b": Parameter(Device())}):
        assert device.depth == 1
    assert device.depth == 0


@pytest.mark.parametrize("arrays", [{}, {"a": np.zeros(1)}])
def test_on_the_cpu_there_is_no_device_to_enter(arrays):
    with place_of(arrays) as nothing:
        assert nothing is None


@pytest.mark.parametrize("work", ["step", "epoch", "epoch and validation", "prediction"])
def test_training_and_prediction_compute_on_the_device_of_the_parameters(monkeypatch, dots, work):
    config = RunConfig(layers="1/6 -> 4/3 -> 3", batch_size=30, dtype="float64")
    learner = Learner(config, make_network(config, 2), len(dots))
    progress, device, depths = learner.init(), Device(), []
    for module in ("place", "metrics"):
        monkeypatch.setattr(f"gmengine.training.{module}.place_of", lambda arrays: device)
    apply = type(learner.net).apply

    def watched(*args, **options):
        depths.append(device.depth)
        return apply(*args, **options)

    monkeypatch.setattr(type(learner.net), "apply", watched)
    if work == "step":
        train_step(learner, progress, dots[:30])
    elif work == "epoch":
        train_epoch(learner, progress, dots)
    elif work == "epoch and validation":
        run_epoch(learner, progress, dots, dots)
    else:
        predict(learner.net, *progress.model, dots.mixtures)
    assert depths
    assert min(depths) > 0
    assert device.depth == 0
