# SPDX-License-Identifier: GPL-2.0-only
"""The `damosd` program: finds the subcommand, and turns errors into messages and exit codes.

Exit codes: 0 done; 1 failed; 2 usage; 3 no daemon runs; 4 insufficient privilege; 78 bad configuration or scheme file;
130 interrupted before anything was running.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from damosd import __version__
from damosd.cli import (
    check,
    completion,
    config,
    daemon,
    doctor,
    explain,
    pause,
    regions,
    reload,
    resume,
    run,
    schemes,
    status,
    stop,
    targets,
    top,
    tune,
    undo,
    workload,
    wss,
)
from damosd.errors import DamosdError

if TYPE_CHECKING:
    from collections.abc import Sequence

_COMMANDS = {
    "daemon": (daemon, "do what the configuration says, until told to stop"),
    "run": (run, "monitor processes and run schemes on them"),
    "wss": (wss, "measure exactly how much memory a process uses in the last seconds"),
    "targets": (targets, "show which processes the configuration makes targets, and why"),
    "undo": (undo, "put back what a damosd that was killed has changed for good"),
    "check": (check, "tell everything that is wrong with scheme files"),
    "config": (config, "show the configuration of this machine, and which file says what"),
    "schemes": (schemes, "list, show and convert schemes, and change those that the daemon runs"),
    "status": (status, "show what the daemon does now"),
    "top": (top, "show it on the whole screen, live"),
    "regions": (regions, "show which memory of the daemon's targets is used now"),
    "explain": (explain, "tell why the daemon's schemes acted on memory, or did not"),
    "tune": (tune, "change how the daemon monitors a target"),
    "pause": (pause, "let the daemon leave targets alone for a while"),
    "resume": (resume, "let it go on"),
    "reload": (reload, "let the daemon read its configuration again"),
    "stop": (stop, "end the daemon"),
    "doctor": (doctor, "try what this machine can do, and tell what is missing"),
    "completion": (completion, "print what lets a shell complete subcommands and options"),
    "workload": (workload, "play a known access pattern, to measure against"),
}


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole program."""
    parser = argparse.ArgumentParser(
        prog="damosd",
        description="DAMON and DAMOS for any Linux process, from user space: see which memory is used, and act on it.",
    )
    parser.add_argument("--version", action="version", version=f"damosd {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (module, help_text) in _COMMANDS.items():
        command = commands.add_parser(name, help=help_text, formatter_class=argparse.RawDescriptionHelpFormatter)
        module.set_argparser(command)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program with `argv` (default: the process's own) and return its exit code."""
    args = build_parser().parse_args(argv)
    try:
        code: int = _COMMANDS[args.command][0].main(args)
    except DamosdError as error:
        print(f"damosd: {error}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130  # before or after the part of a run that ends with a summary
    except BrokenPipeError:
        # Whoever read our output has gone; leave without a second complaint when stdout is closed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code
