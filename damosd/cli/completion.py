# SPDX-License-Identifier: GPL-2.0-only
"""`damosd completion`: what lets a shell complete our subcommands and options."""

from __future__ import annotations

from typing import TYPE_CHECKING

from damosd.cli.output import say
from damosd.errors import UnavailableError

if TYPE_CHECKING:
    import argparse

_DESCRIPTION = """\
Print a script that lets a shell complete subcommands and options. It has to be made anew with each version.
"""

_EXAMPLES = """\
examples:
  damosd completion bash > /usr/share/bash-completion/completions/damosd
  damosd completion zsh > /usr/share/zsh/vendor-completions/_damosd
"""


def set_argparser(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.description = _DESCRIPTION
    parser.epilog = _EXAMPLES
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh"), help="which shell is to read it")


def main(args: argparse.Namespace) -> int:
    """Run the subcommand. Raise UnavailableError without shtab."""
    try:
        import shtab  # noqa: PLC0415  # nothing else needs it
    except ImportError as error:
        raise UnavailableError(
            "completions are made by shtab, which is not installed", hint="pip install 'damosd[completion]'"
        ) from error
    from damosd.cli.main import build_parser  # noqa: PLC0415  # it imports us

    say(shtab.complete(build_parser(), shell=args.shell))
    return 0
