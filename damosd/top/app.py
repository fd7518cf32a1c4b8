# SPDX-License-Identifier: GPL-2.0-only
"""The full-screen view: places what other modules make, and turns keys into changes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

from textual.app import App
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets import Footer, Input, Static

from damosd.report.names import printable
from damosd.top import schemes, targets
from damosd.top.details import detail_lines
from damosd.top.dialogs import Confirm, Help
from damosd.top.feed import Action, Answer, Feed, Look, Lost
from damosd.top.grid import Grid
from damosd.top.heatmap import HeatMap
from damosd.top.moment import Moment, headline, largest_of, process_title, trouble
from damosd.top.rows import Arrangement, arrange, found

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from textual.app import ComposeResult

    from damosd.top.feed import Event
    from damosd.top.rows import Group, Key
    from damosd.top.source import Source

_VIEWS = ("targets", "schemes", "memory")


class Arrived(Message):
    """Something has come from the daemon."""

    def __init__(self, event: Event) -> None:
        super().__init__()
        self.event = event


@dataclass(slots=True)
class _Table:
    """How one of the tables is shown."""

    groups: Callable[[Moment, Callable[[Key], bool]], Iterable[Group]]
    sortable: tuple[int, ...]
    arrangement: Arrangement = field(default_factory=Arrangement)
    opened: set[Key] = field(default_factory=set)

    def next_column(self) -> None:
        at = self.sortable.index(self.arrangement.column)
        column = self.sortable[(at + 1) % len(self.sortable)]
        self.arrangement = replace(self.arrangement, column=column, turned=False)


class Top(App[None]):
    """`damosd top`: see docs/top.md."""

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #headline, #views { height: 1; }
    #banner { height: auto; max-height: 3; color: ansi_red; text-style: bold; display: none; }
    #prompt { display: none; border: none; height: 1; padding: 0; }
    Grid { height: 1fr; scrollbar-size-horizontal: 0; }
    #strip { height: 4; }
    #map { height: 1fr; }
    #details { height: 25%; min-height: 3; border-top: solid ansi_bright_black; }
    Confirm, Help { align: center middle; }
    .dialog { width: auto; max-width: 100%; height: auto; padding: 0 1; border: solid ansi_yellow; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1", "view('targets')", "targets", show=False),
        Binding("2", "view('schemes')", "schemes", show=False),
        Binding("3", "view('memory')", "memory", show=False),
        Binding("up,k", "walk(-1)", "up", show=False),
        Binding("down,j", "walk(1)", "down", show=False),
        Binding("tab", "next_view", "view", priority=True),
        Binding("p", "pause", "pause"),
        Binding("e", "enable", "enable"),
        Binding("s", "sort", "sort"),
        Binding("S", "turn", "turn", show=False),
        Binding("f", "ask('filter')", "filter"),
        Binding("slash", "ask('search')", "search", key_display="/"),
        Binding("n", "again", "next", show=False),
        Binding("escape", "clear", "all", show=False),
        Binding("question_mark", "help", "help", key_display="?"),
        Binding("q", "quit", "quit"),
    ]

    def __init__(self, source: Source, interval_s: float, cold_s: float) -> None:
        super().__init__(ansi_color=True)  # the terminal's own colours, whatever they are
        self.theme = "ansi-dark"
        self._feed = Feed(source, Look(source, cold_s), self._deliver, interval_s)
        self._cold_s = cold_s
        self._moment: Moment | None = None
        self._lost: Lost | None = None
        self._view = "targets"
        self._sought = ""
        self._prompt_for = ""
        self._said: dict[str, str] = {}
        self._tables = {
            "targets": _Table(targets.target_groups, targets.SORTABLE, Arrangement(column=targets.BY_RSS)),
            "schemes": _Table(schemes.scheme_groups, schemes.SORTABLE),
        }

    def compose(self) -> ComposeResult:
        """Place the widgets."""
        colour = not self.no_color
        yield Static(Content("asking the daemon ..."), id="headline")
        yield Static(id="banner")
        yield Static(id="views")
        yield Grid(targets.COLUMNS, id="targets")
        yield Grid(schemes.COLUMNS, id="schemes")
        yield HeatMap("map", cold_s=self._cold_s, is_map=True, colour=colour)
        yield HeatMap("strip", cold_s=self._cold_s, is_map=False, colour=colour)
        yield Static(id="details")
        yield Input(id="prompt")
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        """Begin to ask."""
        self.action_view("targets")
        self._feed.start()

    def on_unmount(self) -> None:
        """Ask no more."""
        self._feed.stop()

    def _deliver(self, event: Event) -> None:
        self.post_message(Arrived(event))

    def on_arrived(self, message: Arrived) -> None:
        """Show what has come."""
        if not self.query("#banner"):
            return  # it comes while the view ends
        match message.event:
            case Moment() as moment:
                self._moment, self._lost = moment, None
                self._redraw()
            case Lost() as lost:
                self._lost = lost
                self._redraw_banner()
            case Answer(action, why):
                done = f"{action.verb} {printable(action.name)}"
                words = f"{done}: refused: {printable(why)}" if why else f"{done}: done"
                self.notify(words, severity="error" if why else "information", markup=False)

    def _redraw(self) -> None:
        self._redraw_banner()
        moment = self._moment
        if moment is None:
            return
        self._say("headline", headline(moment))
        name = "schemes" if self._view == "schemes" else "targets"
        table = self._tables[name]
        groups = table.groups(moment, lambda key: bool(table.arrangement.wanted) or key in table.opened)
        self._grid(name).show(arrange(groups, table.arrangement, table.opened), table.arrangement)
        picture = self.query_one("#map" if self._view == "memory" else "#strip", HeatMap)
        picture.show(process_title(moment), moment.memory)
        self._redraw_chosen()

    def _redraw_banner(self) -> None:
        lines = []
        if self._lost:
            hint = f" ({printable(self._lost.hint)})" if self._lost.hint else ""
            lines.append(f"NO ANSWER: {printable(self._lost.why)}{hint}; trying again")
        elif self._moment:
            lines = trouble(self._moment)
        self._say("banner", "\n".join(lines), layout=True)
        self.query_one("#banner").display = bool(lines)

    def _redraw_chosen(self) -> None:
        if self._moment:
            self._say("details", "\n".join(detail_lines(self._moment, self._chosen())))

    def _say(self, where: str, text: str, *, layout: bool = False) -> None:
        """Show a text in a widget, unless it is there already. `layout`: the height of the widget depends on it."""
        if self._said.get(where) != text:
            self._said[where] = text
            self.query_one(f"#{where}", Static).update(Content(text), layout=layout)

    def on_grid_chosen(self) -> None:
        """Look at what is chosen."""
        if self._moment is None:
            return
        process = _process_of(self._chosen(), self._moment)
        if process:
            self._feed.look_at(process)
        self._redraw_chosen()

    def on_grid_opened(self, message: Grid.Opened) -> None:
        """Show or hide what belongs to a row."""
        if message.key[0] in ("target", "scheme"):
            self._tables[self._view].opened ^= {message.key}
            self._redraw()

    def _grid(self, name: str) -> Grid:
        return self.query_one(f"#{name}", Grid)

    def _chosen(self) -> Key | None:
        return self._grid("schemes" if self._view == "schemes" else "targets").chosen

    def action_view(self, view: str) -> None:
        """Show another of the views."""
        self._view = view
        self._grid("targets").display = view == "targets"
        self._grid("schemes").display = view == "schemes"
        self.query_one("#map").display = view == "memory"
        self.query_one("#strip").display = view == "targets"
        marks = [
            f"[{number} {name}]" if name == view else f" {number} {name} " for number, name in enumerate(_VIEWS, 1)
        ]
        self._say("views", " ".join(marks))
        if view in self._tables:
            self._grid(view).focus()
        self._redraw()

    def action_next_view(self) -> None:
        """Show the next view, unless somebody types."""
        if self._prompt_for:
            return
        self.action_view(_VIEWS[(_VIEWS.index(self._view) + 1) % len(_VIEWS)])

    def action_walk(self, steps: int) -> None:
        """Choose another process while the view of memory has no rows."""
        self._grid("targets").choose(self._grid("targets").position + steps)

    def action_sort(self) -> None:
        """Sort by the next column."""
        if table := self._tables.get(self._view):
            table.next_column()
            self._redraw()

    def action_turn(self) -> None:
        """Turn the order around."""
        if table := self._tables.get(self._view):
            table.arrangement = replace(table.arrangement, turned=not table.arrangement.turned)
            self._redraw()

    def action_ask(self, what: str) -> None:
        """Ask for a text to filter by, or to search for."""
        if self._view not in self._tables:
            return
        self._prompt_for = what
        prompt = self.query_one("#prompt", Input)
        prompt.placeholder = what
        prompt.value = self._tables[self._view].arrangement.wanted if what == "filter" else ""
        prompt.display = True
        prompt.focus()

    def on_input_changed(self, message: Input.Changed) -> None:
        """Filter while somebody types."""
        if self._prompt_for == "filter":
            self._filter(message.value)

    def on_input_submitted(self, message: Input.Submitted) -> None:
        """Take the text, and give the keys back to the table."""
        what, self._prompt_for = self._prompt_for, ""
        self._leave_prompt()
        if what == "search":
            self._sought = message.value
            self.action_again()

    def _leave_prompt(self) -> None:
        self.query_one("#prompt").display = False
        self._grid(self._view).focus()

    def _filter(self, wanted: str) -> None:
        table = self._tables[self._view]
        table.arrangement = replace(table.arrangement, wanted=wanted)
        self._redraw()

    def action_again(self) -> None:
        """Choose the next row that holds what is sought."""
        if not self._sought or self._view not in self._tables:
            return
        grid = self._grid(self._view)
        index = found(grid.rows, self._sought, grid.position)
        if index is None:
            self.notify(f"nothing here is called {printable(self._sought)}", markup=False)
        else:
            grid.choose(index)

    def action_clear(self) -> None:
        """Show all rows again."""
        if self._view not in self._tables:
            return
        self._prompt_for = ""
        self._leave_prompt()
        self._filter("")

    def action_help(self) -> None:
        """Tell the keys."""
        self.push_screen(Help())

    def action_pause(self) -> None:
        """Pause the chosen target, or let it go on."""
        name = _target_of(self._chosen())
        named = self._moment.named(name) if self._moment and name is not None else None
        if named is None:
            self.notify("choose a target to pause")
        elif named.paused:
            self._confirm(Action("resume", named.name), f"Resume monitoring {printable(named.name)}?")
        else:
            question = f"Pause monitoring {printable(named.name)}, and with it all schemes on it?"
            self._confirm(Action("pause", named.name), question)

    def action_enable(self) -> None:
        """Disable the chosen scheme, or enable it."""
        chosen = self._chosen()
        if self._moment is None or chosen is None or chosen[0] not in ("scheme", "on"):
            self.notify("choose a scheme to disable, in the view of schemes: 2")
            return
        name = chosen[1]
        verb = "enable" if name in self._moment.status.disabled else "disable"
        self._confirm(Action(verb, name), f"{verb.capitalize()} {printable(name)} on all its targets?")

    def _confirm(self, action: Action, question: str) -> None:
        def act(answer: bool | None) -> None:  # noqa: FBT001  # textual calls it so
            if answer:
                self._feed.ask(action)

        self.push_screen(Confirm(question), act)


def _process_of(key: Key | None, moment: Moment) -> tuple[str, int] | None:
    """Return the process that a row is about: of a target, the largest."""
    match key:
        case ("process", name, pid):
            return name, int(pid)
        case ("target", name) | ("on", _, name):
            return largest_of(moment.status, name)
    return None


def _target_of(key: Key | None) -> str | None:
    match key:
        case ("target", name) | ("process", name, _) | ("on", _, name):
            return name
    return None
