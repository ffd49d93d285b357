"""List the data sets, say what is in them and where, and read raw data ahead."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from gmengine.cli.fit import add_options
from gmengine.cli.progress import Screen
from gmengine.cli.train import pairs
from gmengine.data import DATASETS, RawData
from gmengine.data.catalogue import parse_spec
from gmengine.data.entry import Entry
from gmengine.errors import DataError

MISSING = 1
"""Exit code of ``data path`` where there are no raw data."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    actions = {"list": _list, "info": _info, "path": _path, "build": _build}
    for name, action in actions.items():
        summary = (action.__doc__ or "").splitlines()[0]
        command = commands.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
        if name != "list":
            command.add_argument("dataset", metavar="DATASET", help="name of a data set, or name:folder")
        if name in ("list", "info"):
            command.add_argument("--json", action="store_true", help="print JSON")
        if name in ("info", "build"):
            add_options(command)
        command.set_defaults(action=action)


def run(arguments: argparse.Namespace) -> int:
    """Do what the subcommand says."""
    code: int = arguments.action(arguments)
    return code


def _list(arguments: argparse.Namespace) -> int:
    """Show all data sets, their licences, and how to get what is missing."""
    rows = [(entry, _missing(entry)) for entry in DATASETS.values()]
    if arguments.json:
        keys = ("name", "kind", "summary", "licence", "source", "install")
        said = [{**{k: getattr(e, k) for k in keys}, "available": not lacks} for e, lacks in rows]
        print(json.dumps(said, indent=1))
        return 0
    width = max(len(name) for name in DATASETS)
    for entry, lacks in rows:
        print(f"{entry.name:<{width}}  {entry.kind:<6}  {entry.summary}")
        print(f"{'':<{width}}  {'':<6}  {'; '.join(filter(None, (entry.licence, lacks or 'available')))}")
    return 0


def _missing(entry: Entry) -> str:
    """Return what makes the data available, nothing if they are."""
    try:
        entry.locate(None)
    except (DataError, OSError):
        return f"get it with: {entry.install}" if entry.install else f"name a folder: {entry.name}:FOLDER"
    return ""


def _info(arguments: argparse.Namespace) -> int:
    """Show classes, objects per part and class, source, licence and the reader's options."""
    raw = _opened(arguments)
    summary, options = raw.summary, raw.spec.entry.options
    if arguments.json:
        said: dict[str, Any] = {**summary.to_json(), "where": str(raw.place) if raw.place else None}
        print(json.dumps({**said, "options": {k: raw.options[k] for k in options}}, indent=1))
        return 0
    train, valid, test = summary.sizes
    facts = {
        "name": raw.name,
        "kind": f"{summary.kind}, to become mixtures in {summary.dim}-D",
        "objects": f"{train + valid + test:,} in {len(summary.class_names)} classes",
        "source": summary.source or "-",
        "licence": summary.licence or "-",
        "where": raw.place or "part of the package",
        "checksum": summary.checksum,
    }
    for name, value in facts.items():
        print(f"{name:<9} {value}")
    for name, (_, text) in options.items():
        print(f"option    {name}={json.dumps(raw.options[name])}: {text}")
    width = max(5, *(len(each) for each in summary.class_names))
    print(f"{'class':<{width}}  {'train':>7}  {'valid':>7}  {'test':>7}")
    for each, *counts in zip(summary.class_names, *summary.counts, strict=True):
        print(f"{each:<{width}}  " + "  ".join(f"{n:7,d}" for n in counts))
    print(f"{'all':<{width}}  {train:7,d}  {valid:7,d}  {test:7,d}")
    return 0


def _path(arguments: argparse.Namespace) -> int:
    """Print where the raw data are; exit code 1, and how to get them, if they are not there."""
    parse_spec(arguments.dataset)  # a mistake in the name is an error as all others
    try:
        place = RawData(arguments.dataset).place
    except DataError as error:
        print(f"gmengine: {' '.join(str(error).split())}", file=sys.stderr)
        return MISSING
    print("part of the package" if place is None else place)
    return 0


def _build(arguments: argparse.Namespace) -> int:
    """Read the raw data once and keep them in the cache, so that fits need not read them again."""
    raw = _opened(arguments)
    collection = raw.collection(keep=True)
    if raw.kept_at is None:
        raise DataError(f"{raw.name}: there is no cache to keep it in; GMENGINE_CACHE_DIR names a folder")
    print(
        f"{raw.name}: {len(collection):,} objects in {len(collection.class_names)} classes, kept in {raw.kept_at}"
    )
    return 0


def _opened(arguments: argparse.Namespace) -> RawData:
    raw = RawData(arguments.dataset, pairs("--option", arguments.option))
    if not raw.is_known and sys.stdout.isatty():
        Screen().fit(0, 0, 0.0)
    return raw
