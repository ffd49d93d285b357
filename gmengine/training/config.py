"""Everything that defines a training run, as one frozen value that JSON can carry."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from gmengine.data.augment import Augmentation
from gmengine.data.catalogue import names_data_set
from gmengine.data.fitted import FIT_OPTIONS
from gmengine.errors import ArgumentError
from gmengine.nn import Network


@dataclass(frozen=True)
class RunConfig:
    """A training run: two runs with equal configurations and thread counts give the same bits.

    Parameters
    ----------
    dataset : str
        Name of a known data set, ``name:folder`` where its raw data lie elsewhere, the folder of a store, or a
        .npz file of `data.save_dataset`; paths are made absolute.
    layers : str
        The network, ``channels/components`` per layer; the first entry also says to how many components the
        inputs are fitted.
    fit : dict
        Further options of `data.fitted`, such as ``{"steps": 5, "read": {"points": 2048}}``.
    network : dict
        Further fields of `gmengine.nn.Network`, such as ``{"radius": 2.0}``.
    epochs, batch_size : int
        Passes over the training split; mixtures per step.
    lr : float
        Adam's rate at the peak of the schedule.
    schedule : str
        ``"one_cycle"`` (the last epoch is the result), ``"plateau"`` (driven by the loss on the validation
        split; the best epoch on validation is the result) or ``"constant"`` (the last epoch).
    weight_decay : float
        Rate of the decay's own gradient step after Adam's, relative to Adam's rate (paper eq. 8).
    max_norm : float
        Gradients longer than this, over all parameters together, are shortened to it.
    augment : float
        Strength of the random linear map of every training sample (`data.random_linear`); 0 for none.
    augmentation : dict
        Further fields of `data.Augmentation`, such as ``{"rotation": "full", "drop": 0.1}``.
    average : float
        Decay per step of a running average of parameters and statistics, which is then what is evaluated and
        returned; 0 for none.
    seed : int
        Of the first parameters and of the order of the batches. The splits do not depend on it.
    dtype : str
        ``"float32"`` or ``"float64"``.
    device : str
        ``"cpu"``, ``"cuda"`` or ``"cuda:<index>"``.
    limit_train : int or None
        Use only so many training samples, for a quick look: the first of every class, in its share.

    Raises
    ------
    ArgumentError
        Names the field, what was expected and what came.
    """

    dataset: str = "digits"
    layers: str = "1/32 -> 8/8 -> 10"
    fit: dict[str, Any] = field(default_factory=dict)
    network: dict[str, Any] = field(default_factory=dict)
    epochs: int = 40
    batch_size: int = 32
    lr: float = 0.02
    schedule: str = "one_cycle"
    weight_decay: float = 0.1
    max_norm: float = 1.0
    augment: float = 0.1
    augmentation: dict[str, Any] = field(default_factory=dict)
    average: float = 0.0
    seed: int = 0
    dtype: str = "float32"
    device: str = "cpu"
    limit_train: int | None = None

    SCHEDULES: ClassVar[tuple[str, ...]] = ("one_cycle", "plateau", "constant")
    DTYPES: ClassVar[tuple[str, ...]] = ("float32", "float64")

    def __post_init__(self) -> None:
        for name in ("dataset", "layers", "schedule", "dtype", "device"):
            if not isinstance(getattr(self, name), str):
                raise ArgumentError(f"{name}: expected a string, got {getattr(self, name)!r}")
        self._check_network()
        self._check_fit()
        self._check_augmentation()
        self._whole("epochs", 1)
        self._whole("batch_size", 2)  # batch statistics need two
        self._whole("seed", 0)
        if self.limit_train is not None:
            self._whole("limit_train", 2)
        self._number("lr", lambda x: x > 0, "a positive number")
        self._number("weight_decay", lambda x: x >= 0, "a number of at least 0")
        self._number("max_norm", lambda x: x > 0, "a positive number")
        self._number("augment", lambda x: 0 <= x <= 0.3, "a number from 0 to 0.3")
        self._number("average", lambda x: 0 <= x < 1, "a number from 0 to below 1")
        self._choice("schedule", self.SCHEDULES)
        self._choice("dtype", self.DTYPES)
        object.__setattr__(self, "dataset", _absolute(self.dataset))

    def _check_network(self) -> None:
        taken = {"channels", "components", "dim", "dtype"}  # said by layers, dataset and dtype
        if not isinstance(self.network, dict) or any(not isinstance(key, str) for key in self.network):
            raise ArgumentError(f"network: expected a dict of options, got {self.network!r}")
        known = {f.name for f in dataclasses.fields(Network)} - taken
        unknown = sorted(set(self.network) - known)
        if unknown:
            raise ArgumentError(
                f"network: unknown option {unknown[0]!r}; known are {', '.join(sorted(known))}"
            )

    def _check_fit(self) -> None:
        if not isinstance(self.fit, dict) or any(not isinstance(key, str) for key in self.fit):
            raise ArgumentError(f"fit: expected a dict of options, got {self.fit!r}")
        unknown = sorted(set(self.fit) - FIT_OPTIONS)
        if unknown:
            raise ArgumentError(
                f"fit: unknown option {unknown[0]!r}; known are {', '.join(sorted(FIT_OPTIONS))}"
            )
        if not isinstance(self.fit.get("read", {}), dict):
            raise ArgumentError(f"fit: expected a dict as read, got {self.fit['read']!r}")

    def _check_augmentation(self) -> None:
        given = self.augmentation
        if not isinstance(given, dict) or any(not isinstance(key, str) for key in given):
            raise ArgumentError(f"augmentation: expected a dict of options, got {given!r}")
        known = {f.name for f in dataclasses.fields(Augmentation)} - {"linear"}  # that is said by augment
        unknown = sorted(set(given) - known)
        if unknown:
            raise ArgumentError(
                f"augmentation: unknown option {unknown[0]!r}; known are {', '.join(sorted(known))}"
            )
        try:
            Augmentation(**given)
        except ArgumentError as error:
            raise ArgumentError(f"augmentation: {error}") from None

    def _whole(self, name: str, least: int) -> None:
        value = getattr(self, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ArgumentError(f"{name}: expected a whole number of at least {least}, got {value!r}")

    def _number(self, name: str, holds: Any, expected: str) -> None:
        value = getattr(self, name)
        real = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not real or not holds(value):
            raise ArgumentError(f"{name}: expected {expected}, got {value!r}")
        object.__setattr__(self, name, float(value))

    def _choice(self, name: str, choices: tuple[str, ...]) -> None:
        if getattr(self, name) not in choices:
            raise ArgumentError(f"{name}: expected one of {', '.join(choices)}, got {getattr(self, name)!r}")

    @property
    def variation(self) -> Augmentation:
        """What happens to every training sample: `augment` and `augmentation` together."""
        return Augmentation(linear=self.augment, **self.augmentation)

    @property
    def reads_file(self) -> bool:
        """Whether `dataset` is a .npz file."""
        return self.dataset.endswith(".npz") and not names_data_set(self.dataset)

    @property
    def keeps_best(self) -> bool:
        """Whether the result is the best epoch on the validation split, not the last epoch."""
        return self.schedule == "plateau"

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a dict that JSON can carry."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> RunConfig:
        """Return the configuration of `to_json`.

        Raises
        ------
        ArgumentError
            If a field is unknown or its value is not acceptable; a missing one takes its default.
        """
        known = {f.name for f in dataclasses.fields(cls)}
        unknown = sorted(set(fields) - known)
        if unknown:
            raise ArgumentError(f"unknown field {unknown[0]!r}; known are {', '.join(sorted(known))}")
        return cls(**fields)

    def continued(self, changes: Mapping[str, Any]) -> RunConfig:
        """Return the configuration under which a run of this one may go on.

        The device may change; so may the number of epochs, unless the one-cycle schedule was laid out for it.

        Raises
        ------
        ArgumentError
            Names the first of `changes` that contradicts what has been trained so far.
        """
        asked = dataclasses.replace(self, **changes)
        free = {"device"} if self.schedule == "one_cycle" else {"device", "epochs"}
        for each in dataclasses.fields(self):
            before, after = getattr(self, each.name), getattr(asked, each.name)
            if before != after and each.name not in free:
                flag = each.name.replace("_", "-")
                raise ArgumentError(f"resume: the run was started with {flag} {before!r}, not {after!r}")
        return asked


def _absolute(dataset: str) -> str:
    """Return a data set with the path in it, if there is one, made absolute."""
    if names_data_set(dataset):
        name, _, folder = dataset.partition(":")
        return f"{name}:{os.path.abspath(os.path.expanduser(folder))}" if folder else dataset
    is_path = dataset.endswith(".npz") or os.sep in dataset or os.path.isdir(dataset)
    return os.path.abspath(dataset) if is_path else dataset


def environment_options(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields that environment variables set: ``GMENGINE_DEVICE`` and ``GMENGINE_DTYPE``."""
    names = {"device": "GMENGINE_DEVICE", "dtype": "GMENGINE_DTYPE"}
    return {field: environ[name] for field, name in names.items() if environ.get(name)}
