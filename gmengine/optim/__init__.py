"""Optimisers and schedules: frozen values with pure updates of dicts of arrays."""

from gmengine.optim.adam import Adam, AdamState
from gmengine.optim.clipping import clip_by_global_norm
from gmengine.optim.plateau import PlateauState, ReduceOnPlateau
from gmengine.optim.schedule import ConstantSchedule, OneCycle
from gmengine.optim.sgd import SGD, SGDState

__all__ = [
    "SGD",
    "Adam",
    "AdamState",
    "ConstantSchedule",
    "OneCycle",
    "PlateauState",
    "ReduceOnPlateau",
    "SGDState",
    "clip_by_global_norm",
]
