# SPDX-License-Identifier: GPL-2.0-only
"""Manual pages, made from what `--help` says: damosd(8), and one for each subcommand. `make man` runs this."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from damosd import __version__
from damosd.cli.main import build_parser

if TYPE_CHECKING:
    from collections.abc import Iterator

SECTION = 8
_EXIT_CODES = {
    "0": "done",
    "1": "failed",
    "2": "usage: what was asked for makes no sense",
    "3": "no daemon listens at the control socket",
    "4": "the kernel, or the daemon, does not let you",
    "78": "a configuration or scheme file is wrong",
}
_VARIABLES = {
    "DAMOSD_SOCKET": "the daemon's control socket, /run/damosd/control.sock without it",
    "STATE_DIRECTORY": "where it is kept what schemes have changed for good, /var/lib/damosd without it",
    "NO_COLOR": "no colours in the log on a terminal",
}


def main(folder: Path) -> None:
    """Write all pages into `folder`, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in pages().items():
        (folder / name).write_text(page, encoding="utf-8")


def pages() -> dict[str, str]:
    """Return the pages by the names of their files."""
    parser = build_parser()
    summaries = dict(_subcommands(parser))
    titles = {"damosd": "DAMON and DAMOS for any Linux process"} | {
        f"damosd-{name}": summary for name, (_, summary) in summaries.items()
    }
    parsers = {"damosd": parser} | {f"damosd-{name}": command for name, (command, _) in summaries.items()}
    return {
        f"{title}.{SECTION}": "\n".join(_page(title, titles[title], parsers[title], list(titles))) + "\n"
        for title in titles
    }


def _page(title: str, summary: str, parser: argparse.ArgumentParser, titles: list[str]) -> Iterator[str]:
    yield f'.TH {title.upper()} {SECTION} "" "damosd {__version__}" "System Administration"'
    yield from (".SH NAME", f"{_text(title)} \\- {_text(summary)}")
    yield from (".SH SYNOPSIS", *_synopsis(parser))
    yield ".SH DESCRIPTION"
    yield from _paragraph(parser.description or summary)
    yield from _arguments(parser)
    if title == "damosd":
        yield ".SS commands"
        for other in titles[1:]:
            yield from (
                ".TP",
                f"\\fB{_text(other.removeprefix('damosd-'))}\\fR",
                f"see \\fB{_text(other)}\\fR({SECTION})",
            )
    else:
        for name, (command, its_summary) in _subcommands(parser):
            yield f".SH {title.removeprefix('damosd-').upper()} {name.upper()}"
            yield from (
                *_synopsis(command),
                ".PP",
                *_paragraph(command.description or its_summary),
                *_arguments(command),
            )
    if parser.epilog:
        yield from (".SH EXAMPLES", ".EX", *map(_line, parser.epilog.splitlines()[1:]), ".EE")
    for heading, entries in (("EXIT STATUS", _EXIT_CODES), ("ENVIRONMENT", _VARIABLES)):
        yield f".SH {heading}"
        for name, meaning in entries.items():
            yield from (".TP", f"\\fB{name}\\fR", _line(meaning))
    yield ".SH SEE ALSO"
    yield ", ".join(f"\\fB{_text(other)}\\fR({SECTION})" for other in titles if other != title)


def _synopsis(parser: argparse.ArgumentParser) -> Iterator[str]:
    usage = _formatter(parser)
    usage.add_usage(parser.usage, parser._actions, parser._mutually_exclusive_groups, "")  # noqa: SLF001
    yield from (".nf", *map(_line, usage.format_help().splitlines()), ".fi")


def _formatter(parser: argparse.ArgumentParser) -> argparse.HelpFormatter:
    return argparse.HelpFormatter(parser.prog, width=80)  # whatever the terminal's


def _arguments(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield an entry for each argument but subcommands, group by group."""
    for group in parser._action_groups:  # noqa: SLF001  # argparse has no other way to ask
        shown = [one for one in group._group_actions if not isinstance(one, argparse._SubParsersAction)]  # noqa: SLF001
        if shown:
            yield from (".SS", _line(group.title or "options"))
        for action in shown:
            # With %(default)s and %% as they are shown.
            yield from (".TP", _invocation(action), _line(_formatter(parser)._expand_help(action)))  # noqa: SLF001


def _invocation(action: argparse.Action) -> str:
    value = "" if action.nargs == 0 else _value(action)
    if not action.option_strings:
        return f"\\fI{_text(value)}\\fR"
    options = ", ".join(f"\\fB{_text(option)}\\fR" for option in action.option_strings)
    return f"{options} \\fI{_text(value)}\\fR" if value else options


def _value(action: argparse.Action) -> str:
    if action.metavar is not None:
        return action.metavar if isinstance(action.metavar, str) else " ".join(action.metavar)
    return "|".join(map(str, action.choices)) if action.choices else action.dest.upper()


def _subcommands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, tuple[argparse.ArgumentParser, str]]]:
    for action in parser._actions:  # noqa: SLF001
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            summaries = {choice.dest: choice.help or "" for choice in action._choices_actions}  # noqa: SLF001
            for name, command in action.choices.items():
                yield name, (command, summaries[name])


def _paragraph(text: str) -> Iterator[str]:
    yield from map(_line, text.strip().splitlines())


def _line(text: str) -> str:
    """Return text as a line of its own: what begins with a dot or a quote is no request."""
    escaped = _text(text)
    return f"\\&{escaped}" if escaped[:1] in (".", "'") else escaped


def _text(text: str) -> str:
    return text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(ga")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
