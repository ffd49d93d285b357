"""The command line: one parser, one file per subcommand, one line per error."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from gmengine import __version__
from gmengine.cli import compile, data, evaluate, fit, info, plot, predict, train
from gmengine.cli.signals import Interrupted, ignore_signals, raising_signals
from gmengine.errors import GmengineError

FAILED = 2
"""Exit code of every error; 0 is success, 128 + signal number an interruption."""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, as all others are."""

    def error(self, message: str) -> NoReturn:
        _complain(f"{message} (see {self.prog} --help)")
        raise SystemExit(FAILED)


def parser() -> argparse.ArgumentParser:
    """Return the parser of all subcommands."""
    top = _Parser(
        prog="gmengine",
        description="Gaussian mixture convolution networks on NumPy and CuPy arrays.",
        epilog="Exit codes: 0 success, 1 raw data missing (data path), 2 error, 130 interrupted (143 by SIGTERM).",
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"gmengine {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in (train, evaluate, predict, fit, data, plot, compile, info):
        name = module.__name__.rpartition(".")[2]
        summary = (module.__doc__ or "").splitlines()[0]
        command = commands.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: the process's own) and return the exit code."""
    arguments = parser().parse_args(argv)
    with raising_signals():
        return _guarded(arguments)


def _guarded(arguments: argparse.Namespace) -> int:
    try:
        code: int = arguments.run(arguments)
        sys.stdout.flush()
        return code
    except Interrupted as interruption:
        ignore_signals()
        _complain(f"interrupted{interruption.advice}", label="")
        return interruption.exit_code
    except BrokenPipeError:
        # The reader of a pipe has gone (`gmengine info | head -1`); there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (GmengineError, OSError, MemoryError) as error:
        if arguments.debug:
            raise
        _complain(_describe(error))
        return FAILED


def _describe(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename is not None else error.strerror
    return str(error) or type(error).__name__


def _complain(message: str, label: str = "error: ") -> None:
    print(f"gmengine: {label}{' '.join(message.split())}", file=sys.stderr)
