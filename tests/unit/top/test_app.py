# SPDX-License-Identifier: GPL-2.0-only
"""The full-screen view, by pressing its keys."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from support.top import MIB, MadeUp, a_daemon, a_process, a_scheme, a_target

from damosd.damos.backoff import GuardStatus, Phase
from damosd.errors import PrivilegeError, UnavailableError
from damosd.report.daemon import ConfigurationStatus
from damosd.top.app import Top
from damosd.top.grid import Grid

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from textual.pilot import Pilot

SMALL, LARGE = (80, 24), (120, 40)
HOSTILE = "[red]x[/]\x1b[31m\nnext"
_PATIENCE_S = 20.0


class Screen:
    """A view that is shown, and what is to be read there."""

    def __init__(self, pilot: Pilot[None], source: MadeUp) -> None:
        self.app = pilot.app
        self.source = source
        self._pilot = pilot

    def lines(self) -> list[str]:
        """Return what is on the screen."""
        size = self.app.screen.size
        return [strip.text.rstrip() for strip in self.app.screen._compositor.render_strips(size)]

    def text(self) -> str:
        """Return it as one text."""
        return "\n".join(self.lines())

    def line_of(self, words: str) -> str:
        """Return the first line with these words."""
        return next((line for line in self.lines() if words in line), "")

    def grid(self, name: str = "targets") -> Grid:
        """Return one of the tables."""
        return self.app.query_one(f"#{name}", Grid)

    async def press(self, *keys: str) -> None:
        """Press keys, and wait for what follows at once."""
        await self._pilot.press(*keys)
        await self._pilot.pause()

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something is so."""
        deadline = time.monotonic() + _PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, self.text()
            await self._pilot.pause(0.01)

    async def until_said(self, words: str) -> None:
        """Wait until something is on the screen."""
        await self.until(lambda: words in self.text())


@asynccontextmanager
async def shown(source: MadeUp, size: tuple[int, int] = SMALL) -> AsyncIterator[Screen]:
    """Show a made-up daemon, from the first figures on."""
    app = Top(source, 0.02, 30)
    async with app.run_test(size=size, notifications=True) as pilot:
        screen = Screen(pilot, source)
        if source.failure is None:
            await screen.until_said("damosd 0.1.0 (812)")
        yield screen


def see(source: MadeUp, steps: Callable[[Screen], Awaitable[None]], size: tuple[int, int] = SMALL) -> None:
    """Run steps on a view, to its end."""

    async def run() -> None:
        async with shown(source, size) as screen:
            await steps(screen)

    asyncio.run(run())


def usual() -> MadeUp:
    """Return a daemon with three targets and two schemes."""
    guard = GuardStatus(Phase.PAUSED, "300 pages a second came back, 256 may", 0, 23.0, 5678)
    idle = a_scheme("idle", quota_bytes=100 * MIB, charged_bytes=75 * MIB, guard=guard)
    thp = a_scheme("thp", inactive="free memory is high")
    cache = a_target("cache", (a_process(4242, 512, "redis-server"), a_process(4243, 40, "redis-bgsave")), (idle, thp))
    return MadeUp(a_daemon(cache, a_target("batch", (a_process(99, 700, "python3"),), (idle,)), a_target("web", ())))


@pytest.mark.parametrize("size", [SMALL, LARGE, (40, 10)])
def test_it_fits_screens_of_any_size(size: tuple[int, int]) -> None:
    """No line is longer than the screen is wide; the table, the strip and the keys are there."""

    async def steps(screen: Screen) -> None:
        for key in ("1", "2", "3", "tab"):
            await screen.press(key)
            assert max(map(len, screen.lines())) <= size[0]
            assert len(screen.lines()) == size[1]
        if size != (40, 10):
            for words in ("target", "RSS MiB↓", "used", "hot", "cold", "CPU %", "state", "cache (2)", "q quit"):
                assert words in screen.text()
            await screen.until_said("memory of python3(99) of batch, 256.0 MiB mapped")
            await screen.until_said("55d000000000")

    see(usual(), steps, size)


def test_targets_open_and_close() -> None:
    """Enter shows the processes of the chosen target, and hides them again."""

    async def steps(screen: Screen) -> None:
        await screen.press("down", "enter")
        assert "▾ cache (2)" in screen.text()
        assert "4242 redis-server" in screen.text()
        await screen.press("enter")
        assert "▸ cache (2)" in screen.text()
        assert "4242" not in "\n".join(screen.lines()[:12])

    see(usual(), steps)


def test_the_chosen_process_is_looked_at() -> None:
    """Its memory and its details are shown, in each view."""

    async def steps(screen: Screen) -> None:
        await screen.press("down", "enter", "down", "down")
        await screen.until_said("memory of redis-bgsave(4243) of cache")
        assert "redis-bgsave(4243) of cache: RSS 40.0 MiB" in screen.text()
        await screen.press("3")
        assert "memory of redis-bgsave(4243) of cache" in screen.text()
        assert "7f0000" in screen.text()
        await screen.press("up")
        await screen.until_said("memory of redis-server(4242) of cache")

    see(usual(), steps, LARGE)


def test_hot_and_cold_are_filled_in() -> None:
    """As soon as the regions are known."""

    async def steps(screen: Screen) -> None:
        await screen.until(lambda: "128.0" in screen.line_of("cache (2)") and "368.0" in screen.line_of("cache (2)"))

    see(usual(), steps)


def test_schemes_tell_what_holds_them_back() -> None:
    """Quota, guard and why they are inactive; and on each target."""

    async def steps(screen: Screen) -> None:
        await screen.press("2")
        assert "████░░  75%" in screen.line_of("▸ idle")
        assert "guard: paused" in screen.line_of("▸ idle")
        assert "free memory is high" in screen.line_of("▸ thp")
        await screen.press("enter")
        assert "  batch" in screen.text()
        assert "batch: held back by its guard: tried again in 23 s" in screen.text()

    see(usual(), steps, LARGE)


def test_sorting() -> None:
    """By each column in turn, either way; the chosen row stays chosen."""

    async def steps(screen: Screen) -> None:
        def order() -> list[str]:
            return [row.key[1] for row in screen.grid().rows]

        assert order() == ["batch", "cache", "web"]
        await screen.press("down", "S")
        assert order() == ["web", "cache", "batch"]
        assert screen.grid().chosen == ("target", "cache")
        await screen.press("s")
        assert "used↓" in screen.text()
        for _ in range(5):
            await screen.press("s")
        assert "RSS MiB↓" in screen.text()
        assert screen.grid().chosen == ("target", "cache")
        await screen.press("2", "s")
        assert "tried MiB↓" in screen.text()

    see(usual(), steps)


def test_filter() -> None:
    """While it is typed; escape shows all again. Letters that are keys elsewhere are text there."""

    async def steps(screen: Screen) -> None:
        await screen.press("f", *"batc")
        assert [row.key for row in screen.grid().rows] == [("target", "batch")]
        await screen.press("tab", "h", "enter")
        assert screen.grid().has_focus
        assert [row.key for row in screen.grid().rows] == [("target", "batch")]
        await screen.press("escape")
        assert len(screen.grid().rows) == 3
        await screen.press("f", "q", "p", "escape")
        assert len(screen.grid().rows) == 3
        assert screen.source.changes == []

    see(usual(), steps)


def test_search() -> None:
    """Goes to the next row of that name, and on; says when there is none."""

    async def steps(screen: Screen) -> None:
        await screen.press("slash", *"c", "enter")
        assert screen.grid().chosen == ("target", "cache")
        await screen.press("n")
        assert screen.grid().chosen == ("target", "batch")
        await screen.press("slash", *"[b]", "enter")
        assert screen.grid().chosen == ("target", "batch")
        await screen.until_said("nothing here is called [b]")

    see(usual(), steps)


def test_a_target_is_paused_and_resumed() -> None:
    """After a question, which anything but y answers with no."""

    async def steps(screen: Screen) -> None:
        await screen.press("p")
        assert "Pause monitoring batch" in screen.text()
        asked = screen.source.nr_asked
        await screen.until(lambda: screen.source.nr_asked > asked + 2)  # figures come meanwhile
        assert "Pause monitoring batch" in screen.text()
        for no in ("n", "escape", "enter", "q"):
            await screen.press(no, "p")
        assert screen.source.changes == []
        await screen.press("y")
        await screen.until(lambda: "paused" in screen.line_of("batch (1)"))
        await screen.press("p")
        assert "Resume monitoring batch?" in screen.text()
        await screen.press("y")
        await screen.until(lambda: "paused" not in screen.line_of("batch (1)"))
        assert screen.source.changes == [("pause", "batch"), ("resume", "batch")]

    see(usual(), steps)


def test_a_scheme_is_disabled_and_enabled() -> None:
    """The same, in the view of schemes; elsewhere it says where."""

    async def steps(screen: Screen) -> None:
        await screen.press("e")
        await screen.until_said("choose a scheme to disable")
        await screen.press("2", "down", "e")
        assert "Disable thp on all its targets?" in screen.text()
        await screen.press("y")
        await screen.until(lambda: "disabled" in screen.line_of("▸ thp"))
        await screen.press("e", "y")
        await screen.until(lambda: "disabled" not in screen.line_of("▸ thp"))
        assert screen.source.changes == [("disable", "thp"), ("enable", "thp")]

    see(usual(), steps, LARGE)


def test_keys_do_not_change_anything_behind_a_question() -> None:
    """While it is asked whether to pause, e asks for nothing more."""

    async def steps(screen: Screen) -> None:
        await screen.press("2", "p", "down", "e", "2", "s", "escape")
        assert screen.source.changes == []
        assert "[2 schemes]" in screen.text()
        assert "scheme↑" in screen.text()

    see(usual(), steps)


def test_what_is_refused_is_shown() -> None:
    """With the hint, and nothing is changed."""

    async def steps(screen: Screen) -> None:
        screen.source.refusal = PrivilegeError("you may not pause", hint="root and [group] may")
        await screen.press("p", "y")
        await screen.until_said("pause batch: refused: you may not pause;")
        assert "paused" not in screen.line_of("batch (1)")

    see(usual(), steps, LARGE)


def test_a_daemon_that_goes_and_comes_back() -> None:
    """A banner tells, the last figures stay, keys work, and it goes on by itself."""

    async def steps(screen: Screen) -> None:
        screen.source.failure = UnavailableError("no daemon listens at /x", hint="start it")
        await screen.until_said("NO ANSWER: no daemon listens at /x (start it); trying again")
        assert "cache (2)" in screen.text()
        await screen.press("2", "1", "down", "enter", "p", "y")
        await screen.until_said("pause cache: refused: no daemon listens at /x")
        screen.source.daemon = replace(screen.source.daemon, pid=999, targets=screen.source.daemon.targets[:1])
        screen.source.failure = None
        await screen.until_said("damosd 0.1.0 (999)")
        assert "NO ANSWER" not in screen.text()
        assert "batch" not in screen.text()

    see(usual(), steps, LARGE)


def test_a_daemon_that_never_answers() -> None:
    """There is a banner and help, and q quits."""
    source = usual()
    source.failure = UnavailableError("no daemon listens at /x")

    async def steps(screen: Screen) -> None:
        await screen.until_said("NO ANSWER")
        await screen.press("down", "enter", "p", "e", "s", "S", "2", "3", "n", "slash", "x", "enter", "question_mark")
        await screen.until_said("find the next row")
        await screen.press("x", "q")
        assert not screen.app.is_running or screen.app._exit

    see(source, steps)


def test_hostile_names_are_text() -> None:
    """In tables, details, titles, questions and messages."""
    scheme = a_scheme(HOSTILE, inactive=HOSTILE)
    source = MadeUp(
        a_daemon(
            a_target(HOSTILE, (a_process(7, comm=HOSTILE),), (scheme,)),
            configuration=ConfigurationStatus(ok=False, loaded_at=0.0, problems=(HOSTILE,)),
        )
    )
    visible = "[red]x[/]\\x1b[31m\\nnext"

    async def steps(screen: Screen) -> None:
        await screen.press("enter", "down")
        await screen.until_said(f"memory of {visible}(7) of {visible}")
        assert screen.text().count(visible) >= 5
        await screen.press("p")
        assert f"Pause monitoring {visible}," in screen.text()
        await screen.press("y")
        await screen.until_said(f"pause {visible}: done")
        await screen.press("2", "e", "y")
        await screen.until_said(f"disable {visible}: done")
        await screen.press("slash", *"[/]", "enter", "slash", *"[nix]", "enter")
        await screen.until_said("nothing here is called [nix]")
        assert "\x1b" not in screen.text()

    see(source, steps, LARGE)


def test_200_targets_with_20_schemes_each() -> None:
    """Walks to the end, stays there while figures come, and draws only what is on the screen."""
    schemes = tuple(a_scheme(f"scheme-{number:02}") for number in range(20))
    targets = [a_target(f"target-{number:03}", (a_process(1000 + number, number),), schemes) for number in range(200)]
    source = MadeUp(a_daemon(*targets))

    async def steps(screen: Screen) -> None:
        source.failure = UnavailableError("no daemon")  # nothing is drawn because of new figures
        await screen.until_said("NO ANSWER")
        await screen.press("end")
        assert screen.grid().chosen == ("target", "target-000")
        assert "▸ target-000" in screen.text()
        source.failure = None
        asked = source.nr_asked
        await screen.until(lambda: source.nr_asked > asked + 3)
        assert screen.grid().chosen == ("target", "target-000")
        await screen.press("pageup")
        at = screen.grid().position
        assert 180 < at < 199
        assert f"▸ {screen.grid().rows[at].key[1]}" in screen.text()
        await screen.press("home", "2", "enter")
        assert len(screen.grid("schemes").rows) == 220
        widgets = len(list(screen.app.query("*")))
        await screen.press("1", "f", *"target-1")
        assert len(screen.grid().rows) == 100
        assert len(list(screen.app.query("*"))) <= widgets + 1

    see(source, steps)


def test_what_is_chosen_goes_away() -> None:
    """The row in its place is chosen then; with none left, nothing is."""

    async def steps(screen: Screen) -> None:
        await screen.press("end")
        assert screen.grid().chosen == ("target", "web")
        screen.source.daemon = replace(screen.source.daemon, targets=screen.source.daemon.targets[:2])
        await screen.until(lambda: screen.grid().chosen == ("target", "cache"))
        screen.source.daemon = replace(screen.source.daemon, targets=())
        await screen.until(lambda: screen.grid().chosen is None)
        await screen.press("up", "down", "enter", "p", "end", "home", "pagedown")
        screen.source.daemon = usual().daemon
        await screen.until(lambda: screen.grid().chosen is not None)

    see(usual(), steps)


def test_clicks() -> None:
    """Choose a row, and open the chosen one."""

    async def steps(screen: Screen) -> None:
        await screen._pilot.click("#targets", offset=(4, 2))
        assert screen.grid().chosen == ("target", "cache")
        await screen._pilot.click("#targets", offset=(4, 2))
        await screen._pilot.pause()
        assert "▾ cache" in screen.text()
        await screen._pilot.click("#targets", offset=(4, 0))
        await screen._pilot.click("#targets", offset=(4, 9))
        assert screen.grid().chosen == ("target", "cache")

    see(usual(), steps)


def test_without_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shades tell what colours do, and no colour is drawn."""
    monkeypatch.setenv("NO_COLOR", "1")

    async def steps(screen: Screen) -> None:
        await screen.until_said("█" * 15 + "█┊")
        await screen.until_said("_ idle 30 s")
        strips = screen.app.screen._compositor.render_strips(screen.app.screen.size)
        for strip in strips:
            for one in screen.app._filters:
                strip = strip.apply_filter(one, screen.app.screen.styles.background)
            colours = [colour for _, style, _ in strip if style for colour in (style.color, style.bgcolor) if colour]
            assert all(colour.is_default for colour in colours)

    see(usual(), steps)


def test_colours_are_the_terminal_s_own() -> None:
    """The 16 that each has, or its default."""

    async def steps(screen: Screen) -> None:
        await screen.until_said("55d000000000")
        strips = screen.app.screen._compositor.render_strips(screen.app.screen.size)
        colours = {
            colour
            for strip in strips
            for _, style, _ in strip
            if style
            for colour in (style.color, style.bgcolor)
            if colour
        }
        assert {colour.type.name for colour in colours} <= {"STANDARD", "DEFAULT"}
        assert any(colour.name == "magenta" for colour in colours)

    see(usual(), steps)


def test_it_lets_go_of_the_daemon() -> None:
    """When it ends."""
    source = usual()

    async def steps(screen: Screen) -> None:
        await screen.press("q")

    see(source, steps)
    assert source.closed.wait(_PATIENCE_S)
