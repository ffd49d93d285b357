"""The arrays, devices and events of `strict_cupy`, and the list of every wait for the GPU."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import host_cupy
import numpy as np

waits: list[str] = []
"""What has made the host wait for the GPU since `installed`, and where in gmengine."""

_queued: list[Callable[[], None]] = []  # copies that no event stands behind yet


def _note(what: str) -> None:
    frame = sys._getframe(1)
    while frame.f_back and not frame.f_globals.get("__name__", "").startswith("gmengine."):
        frame = frame.f_back
    waits.append(f"{what}, {frame.f_code.co_filename}:{frame.f_lineno}")


class Device:
    """A GPU; entered, it is the current one."""

    stack: ClassVar[list[int]] = [0]  # the last is current

    def __init__(self, id: Any = None) -> None:
        self.id = Device.stack[-1] if id is None else int(id)

    def __enter__(self) -> Device:
        Device.stack.append(self.id)
        return self

    def __exit__(self, *error: object) -> None:
        Device.stack.pop()

    def __int__(self) -> int:
        return self.id

    def synchronize(self) -> None:
        _note("synchronize")


class Event:
    """What was queued before it arrives no later than somebody asks for it."""

    def __init__(self, block: bool = False, disable_timing: bool = False, interprocess: bool = False) -> None:
        self._copies: list[Callable[[], None]] | None = None

    def record(self) -> None:
        self._copies = _queued.copy()
        _queued.clear()

    def synchronize(self) -> None:
        assert self.done, "the event was never recorded"

    @property
    def done(self) -> bool:
        for arrive in self._copies or ():
            arrive()
        return self._copies is not None


class ndarray:  # noqa: N801  (CuPy's name)
    """An array of a device."""

    __hash__ = None  # type: ignore[assignment]
    __array_priority__ = 100

    def __init__(self, values: Any, device: int | None = None) -> None:
        self.values = np.asarray(values)
        self._device = Device(device).id

    device = property(lambda self: Device(self._device))
    T = property(lambda self: self.transpose())
    mT = property(lambda self: self.swapaxes(-1, -2))  # noqa: N815

    def get(self, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True) -> np.ndarray:
        target = np.empty_like(self.values) if out is None else out
        assert (target.shape, target.dtype) == (self.shape, self.dtype)
        if blocking:
            _note("get")
            target[...] = self.values
        else:
            now = self.values.copy()
            host_cupy._poisoned(target)
            _queued.append(lambda: np.copyto(target, now))
        return target

    def __array__(self, *args: Any, **options: Any) -> None:
        raise TypeError("Implicit conversion to a NumPy array is not allowed")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        return _wrap(getattr(ufunc, method)(*_raw(inputs), **{k: _raw(v) for k, v in options.items()}))

    def __getitem__(self, key: Any) -> Any:
        return _wrap(self.values[_index(key)], self._device)

    def __setitem__(self, key: Any, value: Any) -> None:
        _raw(self)[_index(key)] = _raw(value)

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"strict_cupy.{self.values!r}"


def _index(key: Any) -> Any:
    raw = _raw(key)
    if any(
        isinstance(k, np.ndarray) and k.dtype == bool for k in (raw if isinstance(raw, tuple) else (raw,))
    ):
        _note("boolean index")
    return raw


def _raw(x: Any, anywhere: bool = False) -> Any:
    """Return NumPy's array in the place of ours; no others, and none of a device that is not current."""
    if isinstance(x, ndarray):
        if x._device != Device.stack[-1] and not anywhere:
            raise ValueError(
                f"Array device {x._device} must be same as the current device {Device.stack[-1]}"
            )
        return x.values
    if isinstance(x, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    return type(x)(_raw(v, anywhere) for v in x) if type(x) in (tuple, list) else x


def _wrap(x: Any, device: int | None = None) -> Any:
    if isinstance(x, np.ndarray | np.generic):
        return ndarray(x, device)
    if isinstance(x, tuple | list):  # named ones too, as CuPy's linalg does
        return tuple(_wrap(v, device) for v in x)
    return x


def _read(name: str, what: Callable[[Any], Any]) -> Callable[[ndarray], Any]:
    def read(self: ndarray) -> Any:
        _note(name)
        return what(self.values)

    return read


def _operation(f: Callable[..., Any], swapped: bool = False) -> Callable[[ndarray, Any], Any]:
    def operate(self: ndarray, other: Any) -> Any:
        if getattr(type(other), "__array_ufunc__", 0) is None:
            return NotImplemented
        return _wrap(f(_raw(other), _raw(self)) if swapped else f(_raw(self), _raw(other)))

    return operate


def _in_place(f: Callable[..., Any]) -> Callable[[ndarray, Any], ndarray]:
    def operate(self: ndarray, other: Any) -> ndarray:
        f(_raw(self), _raw(other), out=self.values, casting="same_kind")
        return self

    return operate
