# SPDX-License-Identifier: GPL-2.0-only
"""`damosd daemon`: do what the configuration says, until told to stop."""

from __future__ import annotations

import os
import traceback
from functools import partial
from typing import TYPE_CHECKING, Any

from damosd.cli.calling import add_socket
from damosd.cli.configuration import add_root
from damosd.cli.undo import add_state, log_undone

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping
    from pathlib import Path

    from damosd.config.settings import Settings
    from damosd.control.access import Access
    from damosd.control.answers import Hooks
    from damosd.linux.peer import Peer

_DESCRIPTION = """\
Find the processes that the configuration names as targets, monitor them and run schemes on them, in the foreground,
until SIGINT or SIGTERM comes. Upon SIGHUP, or `damosd reload`, the configuration is read again: any mistake in it
changes nothing. Without a configuration nothing is monitored.

The configuration is /etc/damosd/damosd.yaml, the files in damosd.yaml.d beside it, and the scheme files in
/etc/damosd/schemes.d and so on; `damosd check` tells what it comes to, and what is wrong with it.
"""

_EXAMPLES = """\
examples:
  damosd check && damosd daemon
  damosd daemon --root /tmp/trial --state /tmp/trial/state
"""


def set_argparser(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.description = _DESCRIPTION
    parser.epilog = _EXAMPLES
    add_root(parser)
    add_state(parser)
    add_socket(parser)
    parser.add_argument("--verbose", action="store_true", help="log more, to stderr")


def main(args: argparse.Namespace) -> int:
    """Run the subcommand. Raises DamosdError."""
    # numpy would start a thread per CPU for linear algebra that nothing here does.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

    import structlog  # noqa: PLC0415  # these take most of the start-up time

    from damosd import __version__  # noqa: PLC0415  # not for --help
    from damosd.cli.guarding import tell_change, warn  # noqa: PLC0415  # loads numpy
    from damosd.cli.logs import configure  # noqa: PLC0415  # loads structlog
    from damosd.config.found import find_configuration  # noqa: PLC0415  # not for --help
    from damosd.control.server import Server  # noqa: PLC0415  # not for --help
    from damosd.daemon.journal import Journal, default_folder  # noqa: PLC0415  # not for --help
    from damosd.daemon.service.commands import Commands  # noqa: PLC0415  # loads numpy
    from damosd.daemon.service.daemon import Daemon, Machinery  # noqa: PLC0415  # loads numpy
    from damosd.daemon.service.surroundings import Surroundings  # noqa: PLC0415  # loads numpy
    from damosd.daemon.undo import undo_leftovers  # noqa: PLC0415  # loads numpy
    from damosd.linux.notify import Notifier  # noqa: PLC0415  # not for --help
    from damosd.report.ratelimit import RateLimit  # noqa: PLC0415  # not for --help

    limit = RateLimit()
    configure(verbose=args.verbose, limit=limit)
    log = structlog.get_logger()
    around = Surroundings(log, limit, Notifier.from_environment())
    state: Path = args.state or default_folder()
    machinery = Machinery(
        load=partial(find_configuration, args.root),
        around=around,
        state=state,
        on_guard=lambda target, scheme, status: tell_change(log.bind(target=target), scheme, status),
        warn=lambda schemes, dry_run: warn(log, schemes, dry_run=dry_run),
    )
    daemon = Daemon(machinery, __version__)
    with Server(args.socket, Commands(daemon), _access(daemon.plan.settings), hooks=_hooks(log)) as server:
        if not daemon.plan.settings.dry_run:
            log_undone(log, undo_leftovers(Journal(state)))
        around.on_settings = lambda settings: server.allow(_access(settings))
        reason = daemon.run([server])
    log.info("ended", reason=reason)
    return 0


def _hooks(log: Any) -> Hooks:
    from damosd.control.answers import Hooks  # noqa: PLC0415  # not for --help
    from damosd.report.names import printable  # noqa: PLC0415  # not for --help

    def on_change(peer: Peer, command: str, given: Mapping[str, Any]) -> None:
        arguments = {name: value for name, value in given.items() if value is not None}
        log.info("changed on request", command=command, **arguments, by_uid=peer.uid, by_pid=peer.pid)

    def on_failure(command: str, error: Exception) -> None:
        log.error("a command failed", command=command, trace=printable("".join(traceback.format_exception(error))))

    return Hooks(on_change, on_failure)


def _access(settings: Settings) -> Access:
    from damosd.control.access import Access  # noqa: PLC0415  # not for --help

    return Access.of_machine(readers_all=settings.control.status_for_all)
