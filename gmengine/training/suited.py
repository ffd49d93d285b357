"""Which configuration suits a data set, before anybody asks for another."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from gmengine.data import DATASETS, RawData, open_store
from gmengine.data._summary import Summary
from gmengine.data.catalogue import names_data_set, parse_spec
from gmengine.data.shards import is_store
from gmengine.nn.spec import format_spec
from gmengine.nn.spec import parse_spec as parse_layers
from gmengine.training.config import RunConfig


def suited_options(dataset: str, read: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return fields of `RunConfig` for a data set: what its entry in the catalogue says, fitted to what is there.

    With ``name:folder`` and with the folder of a store, the last layer gets as many channels as there are
    classes and `limit_train` goes where there are no more samples than that; the first layer gets the
    components of the store. What the catalogue does not say, and any other data set, is left to the defaults of
    `RunConfig`. `read` are the options of the reader, where the run has any.

    Raises
    ------
    DataError
        If the data set, or its folder, is not there.
    FileFormatError, OSError
        If the data cannot be read.
    """
    if names_data_set(dataset):
        entry, folder = parse_spec(dataset)
        options = {"dataset": dataset, **entry.training}
        return options if folder is None else _adapted(options, RawData(dataset, dict(read or {})).summary)
    if dataset.endswith(".npz") or not is_store(dataset):
        return {"dataset": dataset}
    path = os.path.join(os.curdir, dataset)  # a bare name would be looked for in the catalogue
    manifest = open_store(path).manifest
    name = manifest.collection.name
    options = {"dataset": path, **(DATASETS[name].training if name in DATASETS else {})}
    return _adapted(options, manifest.collection, manifest.components)


def _adapted(options: dict[str, Any], summary: Summary, components: int | None = None) -> dict[str, Any]:
    channels, counts = parse_layers(options.get("layers", RunConfig.layers))
    layers = (*channels[:-1], len(summary.class_names)), (components or counts[0], *counts[1:])
    adapted = {**options, "layers": format_spec(*layers)}
    if (adapted.get("limit_train") or 0) >= summary.sizes[0]:
        adapted.pop("limit_train", None)
    return adapted
