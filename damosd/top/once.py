# SPDX-License-Identifier: GPL-2.0-only
"""One screen as text, for those without a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from damosd.top import schemes, targets
from damosd.top.moment import headline, process_title, trouble
from damosd.top.picture import legend, plain, strip_lines
from damosd.top.rows import Arrangement, arrange, lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from damosd.top.moment import Moment

_BY_NAME = Arrangement()
_BY_RSS = Arrangement(column=targets.BY_RSS)


def screen(moment: Moment, width: int, cold_s: float) -> Iterator[str]:
    """Yield the lines: all targets with their processes, all schemes, and the memory of one process."""
    yield headline(moment)
    yield from (f"! {words}" for words in trouble(moment))
    yield ""
    opened = {targets.target_key(named.name) for named in moment.status.targets}
    rows = arrange(targets.target_groups(moment, opened.__contains__), _BY_RSS, opened)
    yield from lines(targets.COLUMNS, rows, _BY_RSS, width)
    groups = list(schemes.scheme_groups(moment, lambda _: False))
    if groups:
        yield ""
        yield from lines(schemes.COLUMNS, arrange(groups, _BY_NAME, ()), _BY_NAME, width)
    if moment.memory is not None:
        yield ""
        yield process_title(moment)
        yield from map(plain, strip_lines(moment.memory, width, cold_s, colour=False))
        yield plain(legend(cold_s, colour=False))
