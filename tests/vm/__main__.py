# SPDX-License-Identifier: GPL-2.0-only
"""Run a command on another kernel: `python -m tests.vm run --kernel 6.1 -- COMMAND...`."""

from __future__ import annotations

import argparse
import sys

from .guest import Guest, GuestError, run
from .images import KERNELS, kernel_release


def main() -> int:
    """Return the command's exit status, 124 when it took too long, 125 when the guest failed it."""
    parser = argparse.ArgumentParser(prog="python -m tests.vm", description="Run commands on other kernels.")
    subcommands = parser.add_subparsers(dest="subcommand", required=True)
    subcommands.add_parser("list", help="show the kernels")
    runner = subcommands.add_parser("run", help="boot a kernel and run a command in it, from the project's directory")
    runner.add_argument("--kernel", choices=KERNELS, required=True)
    runner.add_argument("--la57", action="store_true", help="5-level page tables")
    runner.add_argument("--memory", default="1G", metavar="SIZE", help="default: %(default)s")
    runner.add_argument("--cpus", type=int, default=2, help="default: %(default)s")
    runner.add_argument("--nodes", type=int, default=1, help="NUMA nodes, each with that memory; default: %(default)s")
    runner.add_argument("--append", default="", metavar="ARGUMENTS", help="more kernel arguments")
    runner.add_argument("--timeout", type=float, default=1800, metavar="SECONDS", help="default: %(default)s")
    runner.add_argument("command", nargs="+", metavar="COMMAND")
    args = parser.parse_args()
    return _list() if args.subcommand == "list" else _run(args)


def _list() -> int:
    for kernel in KERNELS.values():
        cached = kernel_release(kernel) or "not fetched yet"
        sys.stdout.write(f"{kernel.series:6} {cached:28} {kernel.purpose}\n")
    return 0


def _run(args: argparse.Namespace) -> int:
    guest = Guest(KERNELS[args.kernel], args.la57, args.memory, args.cpus, args.append, args.nodes)
    try:
        outcome = run(guest, args.command, timeout_s=args.timeout, emit=_emit)
    except TimeoutError as error:
        sys.stderr.write(f"vm: {guest}: {error}\n")
        return 124
    except GuestError as error:
        sys.stderr.write(f"vm: {error}\n")
        return 125
    sys.stderr.write(f"vm: {guest}: booted in {outcome.boot_s:.1f} s, ran {outcome.command_s:.1f} s\n")
    return outcome.exit_status


def _emit(chunk: bytes) -> None:
    sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
