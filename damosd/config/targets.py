# SPDX-License-Identifier: GPL-2.0-only
"""`targets` and `never`: how a file tells which processes are targets.

All keys of one mapping must hold; a key with several values holds when one of them does.
"""

# Pydantic reads the annotations while this module runs: do not postpone them.
import pwd
import re
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Self

from pydantic import Field, PlainValidator, model_validator

from damosd.config.base import Fault, Model, kind_of, refuse
from damosd.config.monitoring import MonitoringModel
from damosd.config.words import Bool, SizeBytes, one_line
from damosd.targets import questions
from damosd.targets.questions import CmdlineRegex, MinRss, Named, Pid, User
from damosd.targets.selection import Target
from damosd.targets.selector import All, Not, Question, Selector
from damosd.targets.selector import Any as AnyOf
from damosd.units import nearest, parse_number, shown

_MAX_PID = 1 << 22
_MAX_UID = (1 << 32) - 2
_SHORTEST_ID = 12

Questions = tuple[Question, ...]


def _each(ask: Callable[[str], Question], example: str) -> Callable[[Any], Questions]:
    """Return a reader of a text or a list of texts, which are read by `ask`. Every mistake is raised at its place."""

    def read(value: Any) -> Questions:
        if isinstance(value, str):
            return (ask(value),)
        if not isinstance(value, list):
            raise ValueError(f"expected text such as {example}, or a list of such, not {kind_of(value)}")  # noqa: TRY004  # pydantic's way
        if not value:
            raise ValueError(f"the list is empty, so that nothing can match; write for example {example}")
        found, faults = [], []
        for index, one in enumerate(value):
            try:
                if not isinstance(one, str):
                    raise ValueError(f"expected text such as {example}, not {kind_of(one)}")  # noqa: TRY004, TRY301
                found.append(ask(one))
            except ValueError as error:
                faults.append(Fault((index,), str(error)))
        refuse(faults)
        return tuple(found)

    return read


def _pid(word: str) -> Question:
    number = parse_number(word)
    if not 0 < number <= _MAX_PID:
        raise ValueError(f"{shown(word)} is no pid: they go from 1 to {_MAX_PID}")
    return Pid(number)


def _user(word: str) -> Question:
    if word.isdecimal() and word.isascii():
        number = parse_number(word)
        if number > _MAX_UID:
            raise ValueError(f"{shown(word)} is no user: the numbers go to {_MAX_UID}")
        return User(number, word)
    try:
        return User(pwd.getpwnam(word).pw_uid, word)
    except (KeyError, ValueError):
        guess = nearest(word, [user.pw_name for user in pwd.getpwall()])
        advice = f"did you mean '{guess}'?" if guess else "`getent passwd` lists them; a number is taken as it is"
        raise ValueError(f"there is no user {shown(word)}, {advice}") from None


def _regex(word: str) -> Question:
    try:
        return CmdlineRegex(re.compile(word, re.DOTALL))
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"{shown(word)} is not a regular expression: {error}") from None


def _exe(word: str) -> Question:
    if "/" in word and not word.startswith(("/", "*", "?", "[")):
        raise ValueError(f"{shown(word)} can match no program: paths begin with '/', names of files have none")
    return questions.Exe(one_line(word))


def _cgroup(word: str) -> Question:
    one_line(word)
    steps = word.split("/")
    if len(steps) > 1 and (not word.startswith("/") or ".." in steps):
        message = f"{shown(word)} is no path of a cgroup: write for example '/system.slice/nginx.service', or '/batch'"
        raise ValueError(message)
    if len(steps) == 1 and not word.endswith((".service", ".scope", ".slice", ".socket", ".mount", ".swap", "*")):
        raise ValueError(f"{shown(word)} is no systemd unit, as 'nginx.service' is; a path begins with '/': '/{word}'")
    return questions.Cgroup(word)


def _container(word: str) -> Question:
    digits = word.rpartition("://")[2].lower()  # kubectl shows containerd://...
    if not re.fullmatch(rf"[0-9a-f]{{{_SHORTEST_ID},64}}", digits):
        raise ValueError(f"{shown(word)} is no id of a container: write {_SHORTEST_ID} to 64 hexadecimal digits")
    return questions.Container(digits)


def _pod(word: str) -> Question:
    if not re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}", word.lower()):
        example = "'9c1c6a27-5d7b-4a7e-8a55-0c3e1a9d2f40'"
        raise ValueError(f"{shown(word)} is no uid of a pod, such as {example}: `kubectl get pod -o yaml` shows it")
    return questions.Pod(word.lower())


def _globs(kind: Callable[[str], Question]) -> Callable[[str], Question]:
    return lambda word: kind(one_line(word))


Pids = Annotated[Questions, PlainValidator(_each(_pid, "'4242'"))]
Comms = Annotated[Questions, PlainValidator(_each(_globs(questions.Comm), "'redis-*'"))]
Names = Annotated[Questions, PlainValidator(_each(_globs(Named), "'backup-*'"))]
Exes = Annotated[Questions, PlainValidator(_each(_exe, "'/usr/bin/redis-server'"))]
Cmdlines = Annotated[Questions, PlainValidator(_each(_globs(questions.Cmdline), "'*java* -jar app.jar*'"))]
Regexes = Annotated[Questions, PlainValidator(_each(_regex, "'-jar \\S*app[0-9]+\\.jar'"))]
Users = Annotated[Questions, PlainValidator(_each(_user, "'postgres'"))]
Cgroups = Annotated[Questions, PlainValidator(_each(_cgroup, "'/batch/*'"))]
Containers = Annotated[Questions, PlainValidator(_each(_container, "'3f2a9c0d1e4b'"))]
Pods = Annotated[Questions, PlainValidator(_each(_pod, "'9c1c6a27-5d7b-4a7e-8a55-0c3e1a9d2f40'"))]

_ASKED = ("pid", "comm", "name", "exe", "cmdline", "cmdline_regex", "user", "cgroup", "container", "pod")


class SelectorModel(Model):
    """What is asked of a process. `name` is its `comm`, or the file name of its program."""

    pid: Pids = ()
    comm: Comms = ()
    name: Names = ()
    exe: Exes = ()
    cmdline: Cmdlines = ()
    cmdline_regex: Regexes = ()
    user: Users = ()
    cgroup: Cgroups = ()
    container: Containers = ()
    pod: Pods = ()
    min_rss_bytes: SizeBytes = 0
    all_of: list["SelectorModel"] = Field(default_factory=list, alias="and")
    any_of: list["SelectorModel"] = Field(default_factory=list, alias="or")
    none_of: "SelectorModel | None" = Field(default=None, alias="not")

    @model_validator(mode="before")
    @classmethod
    def _drop_empty_words(cls, data: Any) -> Any:
        """Leave out `and`, `or` and `not` with nothing behind them: fields have other names."""
        if not isinstance(data, dict):
            return data
        return {key: value for key, value in data.items() if value is not None or key not in ("and", "or", "not")}

    @model_validator(mode="after")
    def _possible(self) -> Self:
        refuse(self._faults())
        return self

    def _faults(self) -> Iterator[Fault]:
        if "min_rss_bytes" in self._given() and not self.min_rss_bytes:
            yield Fault(("min_rss_bytes",), "min_rss_bytes must be more than 0; leave it out")
        for key, given in (("and", self.all_of), ("or", self.any_of)):
            if not given and key in self._given():
                yield Fault((key,), "the list is empty; leave the key out")
        if not self._given() & set(_SELECTING):
            yield Fault((), f"this would be every process: write one of {', '.join(_SELECTING)}")

    def _given(self) -> set[str]:
        return {type(self).model_fields[name].alias or name for name in self.model_fields_set}

    def to_selector(self) -> Selector:
        """Return the selector as it judges processes."""
        terms: list[Selector] = []
        for key in _ASKED:
            asked: Questions = getattr(self, key)
            if asked:
                terms.append(asked[0] if len(asked) == 1 else AnyOf(asked))
        if self.min_rss_bytes:
            terms.append(MinRss(self.min_rss_bytes))
        terms += [one.to_selector() for one in self.all_of]
        if self.any_of:
            terms.append(AnyOf(tuple(one.to_selector() for one in self.any_of)))
        if self.none_of:
            terms.append(Not(self.none_of.to_selector()))
        return terms[0] if len(terms) == 1 else All(tuple(terms))


_SELECTING = (*_ASKED, "min_rss_bytes", "and", "or", "not")


class NeverModel(SelectorModel):
    """What is never a target: a selector, or in one word a name."""

    @model_validator(mode="before")
    @classmethod
    def _in_one_word(cls, data: Any) -> Any:
        if not isinstance(data, str):
            return data
        return {"name": one_line(data)}


class TargetModel(SelectorModel):
    """One target."""

    exclude: list[NeverModel] = Field(default_factory=list)
    follow_children: Bool = False
    monitoring: MonitoringModel | None = None

    def to_target(self, name: str) -> Target:
        """Return the target as discovery has it."""
        exclude = tuple(one.to_selector() for one in self.exclude)
        return Target(name, self.to_selector(), exclude, self.follow_children)
