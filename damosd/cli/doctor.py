# SPDX-License-Identifier: GPL-2.0-only
"""`damosd doctor`: try what damosd needs of this machine, and tell what works, what does not, and why."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import textwrap
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from damosd.linux.feature import Feature

SCHEMA = 1
"""The version of what `--json` prints."""

_DESCRIPTION = """\
Try everything damosd needs of this machine, harmlessly, and tell what works,
what does not, and why. The exit code is 0 when processes can be monitored,
else 1."""

_RUN_NEEDS = "accessed bit (BPF)"
_GREEN, _RED, _PLAIN = "\033[32m", "\033[31m", "\033[0m"
_NARROWEST, _WIDEST = 60, 120


class Group(StrEnum):
    """What a feature is for. damosd can monitor when one of the access checks works."""

    ACCESS_CHECKS = "access checks"
    ACTIONS = "actions"
    ENVIRONMENT = "environment"


@dataclass(frozen=True, slots=True)
class Finding:
    """A feature that was tried, and its group."""

    group: Group
    feature: Feature


def set_argparser(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.description = _DESCRIPTION
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")


def main(args: argparse.Namespace) -> int:
    """Try all features and print what was found. Return 0 when some access check works, else 1."""
    findings = _findings()
    if args.json:
        print(json.dumps(report(findings), indent=2))
    else:
        colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        width = min(max(shutil.get_terminal_size().columns, _NARROWEST), _WIDEST)
        print("\n".join(table(findings, width=width, colour=colour)))
    return 0 if _working_access_checks(findings) else 1


def report(findings: Sequence[Finding]) -> dict[str, object]:
    """Return the object that `--json` prints."""
    return {
        "schema": SCHEMA,
        "kernel": platform.release(),
        "machine": platform.machine(),
        "verdict": {"can_monitor": bool(_working_access_checks(findings)), "text": _verdict(findings)},
        "access_checks": _working_access_checks(findings),
        "features": [{"group": finding.group.value, **asdict(finding.feature)} for finding in findings],
    }


def table(findings: Sequence[Finding], *, width: int, colour: bool) -> list[str]:
    """Return the lines of the report for people, wrapped at `width` characters."""
    name_width = max(len(finding.feature.name) for finding in findings)
    lines = [f"Linux {platform.release()} {platform.machine()}"]
    for group in Group:
        features = [finding.feature for finding in findings if finding.group is group]
        lines += ["", group.value]
        for feature in features:
            lines += _feature_lines(feature, name_width, width, colour=colour)
    return [*lines, "", *_wrapped(_verdict(findings), width)]


def _feature_lines(feature: Feature, name_width: int, width: int, *, colour: bool) -> list[str]:
    margin = " " * (len("  yes  ") + name_width + 2)
    lines = _wrapped(feature.detail, width, margin) + _wrapped(feature.hint and f"hint: {feature.hint}", width, margin)
    mark = "yes" if feature.works else "no "
    if colour:
        mark = (_GREEN if feature.works else _RED) + mark + _PLAIN
    first = lines[0].removeprefix(margin) if lines else ""
    return [f"  {mark}  {feature.name:<{name_width}}  {first}", *lines[1:]]


def _wrapped(text: str, width: int, margin: str = "") -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=margin, subsequent_indent=margin, break_on_hyphens=False, break_long_words=False
    )


def _working_access_checks(findings: Sequence[Finding]) -> list[str]:
    return [
        finding.feature.name for finding in findings if finding.group is Group.ACCESS_CHECKS and finding.feature.works
    ]


def _verdict(findings: Sequence[Finding]) -> str:
    working = _working_access_checks(findings)
    if not working:
        return "No process can be monitored here: none of the access checks works."
    lacking = [finding.feature.name for finding in findings if not finding.feature.works]
    limit = " But other users' processes may be out of reach: see capabilities." if "capabilities" in lacking else ""
    if _RUN_NEEDS not in working:
        limit += f" `damosd run` cannot run: it needs the {_RUN_NEEDS}."
    return f"Processes can be monitored here, by: {', '.join(working)}.{limit}"


def _findings() -> list[Finding]:
    """Try each feature in a process of its own: no probe can hang, crash or change this one."""
    from damosd.linux.trial import in_child  # noqa: PLC0415 - see _probes

    return [Finding(group, in_child(probe.__module__.rpartition(".")[2], probe)) for group, probe in _probes()]


def _probes() -> tuple[tuple[Group, Callable[[], Feature]], ...]:
    """Return everything there is to try, in the order of the report. Whoever adds an interface adds it here."""
    # Imported only now: they need numpy, which takes longer than `damosd --help` may.
    from damosd.access import accessed_bit  # noqa: PLC0415
    from damosd.inject import probe as inject  # noqa: PLC0415
    from damosd.linux import (  # noqa: PLC0415
        bpf,
        caps,
        clear_refs,
        damon_sysfs,
        madvise,
        numa,
        page_idle,
        pagemap,
        pidfd,
        proc_connector,
        process_vm,
        soft_dirty,
        swap,
        thp,
        userfaultfd,
    )

    return (
        (Group.ACCESS_CHECKS, accessed_bit.probe),
        (Group.ACCESS_CHECKS, clear_refs.probe),
        (Group.ACCESS_CHECKS, page_idle.probe),
        (Group.ACCESS_CHECKS, userfaultfd.probe),
        (Group.ACTIONS, madvise.probe),
        (Group.ACTIONS, process_vm.probe),
        (Group.ACTIONS, swap.probe),
        (Group.ACTIONS, thp.probe),
        (Group.ACTIONS, inject.probe),
        (Group.ACTIONS, numa.probe),
        (Group.ENVIRONMENT, bpf.probe),
        (Group.ENVIRONMENT, bpf.probe_btf),
        (Group.ENVIRONMENT, caps.probe),
        (Group.ENVIRONMENT, pidfd.probe),
        (Group.ENVIRONMENT, proc_connector.probe),
        (Group.ENVIRONMENT, pagemap.probe),
        (Group.ENVIRONMENT, soft_dirty.probe),
        (Group.ENVIRONMENT, damon_sysfs.probe),
    )
