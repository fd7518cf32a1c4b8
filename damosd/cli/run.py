# SPDX-License-Identifier: GPL-2.0-only
"""`damosd run`: monitor processes and run schemes on them, until they end or somebody says stop."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from damosd.cli.output import say
from damosd.cli.pids import called, refuse_ourselves
from damosd.cli.undo import add_state, log_undone
from damosd.errors import ConfigError, DamosdError, UsageError
from damosd.units import UnitError, format_time_us, parse_percent, parse_time_us

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from damosd.core.attrs import Attrs
    from damosd.core.intervals import IntervalsGoal
    from damosd.core.overhead import Overhead
    from damosd.daemon.session import Session
    from damosd.damos.scheme import Scheme
    from damosd.report.status import Status, Summary

_DESCRIPTION = """\
Monitor processes and run schemes on them, until the processes end, the duration is over or SIGINT or SIGTERM comes.
Without a scheme it only watches. Upon SIGHUP the scheme files are read again; a mistake in one changes nothing.
A command that damosd has started is left running when the run ends before it does.
"""

_EXAMPLES = """\
examples:
  damosd run --pid 4242 --scheme schemes/prcl.yaml
  damosd run --comm redis-server --scheme schemes/prcl.yaml --dry-run
  damosd run --pid 4242 --scheme schemes/reclaim.yaml --explain
  damosd run --duration 1m --json -- python3 job.py
"""

_STATUS_INTERVAL_S = 1.0


def set_argparser(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.description = _DESCRIPTION
    parser.epilog = _EXAMPLES
    parser.usage = "damosd run (--pid PID | --comm NAME | -- COMMAND [ARG ...]) [--scheme FILE] [options]"
    targets = parser.add_argument_group("targets")
    targets.add_argument("--pid", type=int, action="append", default=[], help="a process; may be given several times")
    targets.add_argument("--comm", metavar="NAME", help="all processes of this name, as `ps -o comm` shows it")
    targets.add_argument("run_command", nargs="*", metavar="COMMAND", help="start this, after a --, and monitor it")
    schemes = parser.add_argument_group("schemes")
    schemes.add_argument(
        "--scheme", type=Path, action="append", default=[], metavar="FILE", help="a scheme file; several may be given"
    )
    schemes.add_argument("--dry-run", action="store_true", help="show what schemes would do, and change no memory")
    schemes.add_argument(
        "--explain", action="store_true", help="tell every second why schemes acted on memory, or did not"
    )
    lasting = parser.add_argument_group("changes that outlast a run (hugepage, nohugepage)")
    lasting.add_argument("--keep", action="store_true", help="do not put them back at the end")
    add_state(lasting)
    lasting.add_argument(
        "--unprotected",
        action="store_true",
        help="make them also in programs that might crash if damosd is killed in that very moment",
    )
    attrs = parser.add_argument_group("monitoring")
    attrs.add_argument(
        "--resolution",
        choices=("region", "page", "auto"),
        default="region",
        help="sample regions, as the kernel's DAMON does, look at every page, or what fits the overhead (default"
        " region)",
    )
    attrs.add_argument(
        "--overhead",
        metavar="CPU[,SLOWDOWN[,ALL]]",
        help="what looking at every page may cost: of one CPU for a target, of that target's speed, and of one CPU for"
        " all targets (default 1%%,1%%,5%%)",
    )
    attrs.add_argument(
        "--sample", metavar="TIME", help="check accesses every (default 5ms; of pages: as often as --aggr)"
    )
    attrs.add_argument("--aggr", metavar="TIME", help="publish and reset counts every (default 100ms; of pages: 1s)")
    attrs.add_argument("--update", default="1s", metavar="TIME", help="read mappings again every (default 1s)")
    attrs.add_argument("--min-regions", type=int, default=10, metavar="N", help="regions at least (default 10)")
    attrs.add_argument("--max-regions", type=int, default=1000, metavar="N", help="regions at most (default 1000)")
    attrs.add_argument(
        "--intervals-goal",
        nargs="?",
        const="4 %,3,5 ms,10 s",
        metavar="RATE,AGGRS,MIN,MAX",
        help="tune the intervals until RATE of accesses is seen, every AGGRS aggregations, with a sampling interval"
        " within MIN and MAX (without a value: 4%%,3,5ms,10s)",
    )
    attrs.add_argument("--duration", metavar="TIME", help="stop after this time (default: when the targets end)")
    output = parser.add_argument_group("output")
    output.add_argument("--json", action="store_true", help="one JSON object a line on stdout")
    output.add_argument("--verbose", action="store_true", help="log more, to stderr")


def main(args: argparse.Namespace) -> int:
    """Run the subcommand. Raises DamosdError."""
    attrs = _attrs(args)
    duration_s = _time_us(args.duration, "--duration") / 1e6 if args.duration else math.inf
    intervals_goal = _intervals_goal(args.intervals_goal, attrs)
    overhead = _overhead(args.overhead, args.resolution)
    schemes, left_out = _schemes(args.scheme)
    # numpy would start a thread per CPU for linear algebra that nothing here does.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

    import structlog  # noqa: PLC0415  # these take most of the start-up time

    from damosd.cli.explainer import Explainer  # noqa: PLC0415  # loads numpy
    from damosd.cli.guarding import tell_change, warn  # noqa: PLC0415  # loads numpy
    from damosd.cli.logs import configure  # noqa: PLC0415  # loads structlog
    from damosd.core.attrs import Resolution  # noqa: PLC0415  # not for --help
    from damosd.daemon.journal import Journal, default_folder  # noqa: PLC0415  # not for --help
    from damosd.daemon.session import Hooks, Lasting, Session  # noqa: PLC0415  # loads numpy
    from damosd.daemon.undo import undo_leftovers  # noqa: PLC0415  # loads numpy

    configure(verbose=args.verbose)
    log = structlog.get_logger()
    _tell_left_out(log, left_out)
    lasting = Lasting(args.state or default_folder(), args.keep, args.unprotected)
    if not args.dry_run:
        log_undone(log, undo_leftovers(Journal(lasting.state)))
    with ExitStack() as stack:
        pids, child = _targets(args)
        explainer = Explainer(pids, as_json=args.json) if args.explain else None
        session = Session(
            pids,
            attrs,
            schemes,
            dry_run=args.dry_run,
            intervals_goal=intervals_goal,
            resolution=Resolution(args.resolution),
            overhead=overhead,
            lasting=lasting,
            hooks=Hooks(
                on_explain=explainer.keep if explainer else None,
                on_reload=(lambda: _reload(log, session, args.scheme)) if args.scheme else None,
                on_guard=partial(tell_change, log),
                on_limited=lambda pid, how: log.info("overhead", pid=pid, limits=how),
                on_resolution=lambda resolution, why: log.info("resolution", now=str(resolution), reason=why),
            ),
        )
        warn(log, schemes, dry_run=args.dry_run)
        log.info("monitoring", pids=pids, schemes=[scheme.name for scheme in schemes], dry_run=args.dry_run)
        show = _sink(args, stack)

        def on_status(status: Status) -> None:
            show(status)
            if explainer:
                for line in explainer.take(session.engine.schemes):
                    say(line)

        summary = session.run(on_status, duration_s=duration_s, status_interval_s=_STATUS_INTERVAL_S)
    _show_summary(args, summary)
    if child is not None and child.poll() is None:
        log.info("the command runs on", pid=child.pid)
    return 0


def _time_us(text: str, option: str) -> int:
    try:
        return parse_time_us(text)
    except UnitError as error:
        raise UsageError(f"{option}: {error}") from error


def _attrs(args: argparse.Namespace) -> Attrs:
    from damosd.core.attrs import Attrs  # noqa: PLC0415  # not for --help

    aggr = args.aggr or ("1s" if args.resolution != "region" else "100ms")
    return Attrs(
        sample_us=_time_us(args.sample or (aggr if args.resolution != "region" else "5ms"), "--sample"),
        aggr_us=_time_us(aggr, "--aggr"),
        update_us=_time_us(args.update, "--update"),
        min_nr_regions=args.min_regions,
        max_nr_regions=args.max_regions,
    )


def _overhead(text: str | None, resolution: str) -> Overhead:
    from damosd.core.overhead import TOTAL_CPU, Overhead  # noqa: PLC0415  # not for --help

    if text is None:
        return Overhead()
    if resolution == "region":
        raise UsageError(
            "--overhead limits looking at every page, which is not done here",
            hint="add --resolution page or --resolution auto; what regions cost depends on --sample",
        )
    hint = "the usual one is 1%,1%,5%"
    parts = text.split(",")
    if len(parts) > 3:
        raise UsageError(f"--overhead: {text!r} is not CPU,SLOWDOWN,ALL", hint=hint)
    try:
        cpu, slowdown, *total = (parse_percent(part) / 100 for part in (*parts, "1%")[: max(len(parts), 2)])
        return Overhead(cpu, slowdown, total[0] if total else max(TOTAL_CPU, cpu))
    except (UnitError, UsageError) as error:
        raise UsageError(f"--overhead: {error}", hint=hint) from error


def _intervals_goal(text: str | None, attrs: Attrs) -> IntervalsGoal | None:
    if text is None:
        return None
    from damosd.core.intervals import IntervalsGoal  # noqa: PLC0415  # not for --help

    option = "--intervals-goal"
    hint = "the usual one is 4%,3,5ms,10s"
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 4:
        raise UsageError(f"{option}: {text!r} is not RATE,AGGRS,MIN,MAX", hint=hint)
    if not parts[1].isdecimal():
        raise UsageError(f"{option}: AGGRS, {parts[1]!r}, is not a whole number", hint=hint)
    try:
        rate, shortest_us, longest_us = parse_percent(parts[0]), parse_time_us(parts[2]), parse_time_us(parts[3])
    except UnitError as error:
        raise UsageError(f"{option}: {error}", hint=hint) from error
    try:
        goal = IntervalsGoal(round(rate * 100), int(parts[1]), shortest_us, longest_us)
    except UsageError as error:
        raise UsageError(f"{option}: {error}", hint=error.hint) from error
    if not goal.min_sample_us <= attrs.sample_us <= goal.max_sample_us:
        raise UsageError(
            f"{option}: the first sampling interval, {format_time_us(attrs.sample_us)}, is not within MIN and MAX",
            hint="change --sample, or the limits",
        )
    return goal


def _reload(log: Any, session: Session, paths: list[Path]) -> None:
    """Read the scheme files again. Whatever is wrong with them, the schemes that run go on."""
    try:
        schemes, left_out = _schemes(paths)
        failures = session.commit(schemes)
    except DamosdError as error:
        log.warning("the scheme files were not taken over, all goes on as before", error=str(error), hint=error.hint)
    else:
        _tell_left_out(log, left_out)
        for failure in failures:
            log.warning("what a scheme changed could not be put back", reason=failure)
        log.info("scheme files were read again", schemes=[scheme.name for scheme in session.engine.schemes])


def _schemes(paths: list[Path]) -> tuple[list[Scheme], list[str]]:
    """Return the schemes of all files that can be run, and what is told of others. Raises ConfigError."""
    if not paths:
        return [], []
    from damosd.config.found import read_configuration  # noqa: PLC0415  # not for --help

    found = read_configuration(paths)
    if found.problems:
        raise ConfigError("\n".join(map(str, found.problems)), hint=found.hint)
    told = [*map(str, found.merged.refusals), *map(str, found.warnings)]
    told += [f"{one.origin}: the processes of target {one.name!r} are not monitored" for one in found.merged.targets]
    schemes = [entry.scheme for entry in found.merged.enabled]
    if told and not schemes:
        raise ConfigError("\n".join(told), hint="no scheme is left to run; `damosd check` tells more")
    return schemes, told


def _tell_left_out(log: Any, told: list[str]) -> None:
    for line in told:
        log.warning("not all that the scheme files say can be done", what=line)


def _targets(args: argparse.Namespace) -> tuple[list[int], subprocess.Popen[bytes] | None]:
    """Return the pids to monitor, and the command if we started one."""
    if bool(args.pid) + bool(args.comm) + bool(args.run_command) != 1:
        raise UsageError("give the targets in one way: --pid, --comm or -- COMMAND", hint="see `damosd run --help`")
    if args.run_command:
        try:
            child = subprocess.Popen(args.run_command)
        except OSError as error:
            raise DamosdError(f"{args.run_command[0]} cannot be started: {error.strerror}") from error
        return [child.pid], child
    if args.comm:
        return called(args.comm), None
    refuse_ourselves(args.pid)
    return list(dict.fromkeys(args.pid)), None


def _sink(args: argparse.Namespace, stack: ExitStack) -> Callable[[Status], None]:
    """Return what shows a status, as the options and the terminal ask."""
    if args.json:
        from damosd.report.status import json_line  # noqa: PLC0415  # only --json needs it

        return lambda status: say(json_line("status", status))
    if sys.stdout and sys.stdout.isatty() and not args.explain:  # there is none when it was closed
        from rich.live import Live  # noqa: PLC0415  # only a terminal shows a table

        from damosd.report.table import status_table  # noqa: PLC0415  # loads rich

        live = stack.enter_context(Live(auto_refresh=False))
        return lambda status: live.update(status_table(status), refresh=True)

    from damosd.report.text import status_line  # noqa: PLC0415  # not for --help

    return lambda status: say(status_line(status))


def _show_summary(args: argparse.Namespace, summary: Summary) -> None:
    if args.json:
        from damosd.report.status import json_line  # noqa: PLC0415  # only --json needs it

        say(json_line("summary", summary))
        return
    from damosd.report.text import summary_lines  # noqa: PLC0415  # not for --help

    say("\n".join(summary_lines(summary)))
