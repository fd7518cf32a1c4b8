# SPDX-License-Identifier: GPL-2.0-only
"""How a guarded scheme backs off and comes back: slower, then not at all, then little by little.

Memory that comes back every 20 s is quiet in between. So what is quiet for a while is tried again, but with little, and
each trial that fails makes the next one wait twice as long: what failed trials cost goes to nothing.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from damosd.damos.guard import LIFTED

if TYPE_CHECKING:
    from damosd.damos.guard import Guard

_S = 1_000_000_000

WINDOW_NS = 10 * _S
"""Readings are averages over this. Pages come back in bursts: one second says little, and one burst is bearable."""
QUIET_NS = 10 * _S
"""For how long no limit may be passed before the allowance grows. A whole window: what is seen is of this allowance."""
GROWTH = 1.5
"""By how much it grows. From the first trial to full speed it takes 3 minutes, so that what comes back after one or
two is seen while there is little of it."""
FIRST_TRIAL_BYTES_PER_SEC = 1 << 20
"""256 pages: if every one of them comes back, the default limit of refaults is just reached. Less is not worth it."""
FULL_SPEED_BYTES_PER_SEC = 1 << 30
"""An allowance of this limits nothing: zram takes no more."""
FAR = 4
"""So many times the limit, halving is too slow."""
FIRST_PAUSE_NS = 30 * _S
"""Longer than most things that recur within a person's attention."""
LONGEST_PAUSE_NS = 3600 * _S
"""A trial an hour costs nothing that can be measured."""
FORGIVEN_NS = 600 * _S
"""After so much time at full speed the next pause is half as long again: once in ten minutes is no thrashing."""


class Phase(StrEnum):
    """What a guard does: nothing; makes its scheme slower; lets it do nothing; lets it try how much it may do."""

    FREE = "free"
    SLOW = "slow"
    PAUSED = "paused"
    TRYING = "trying"


class Reading(NamedTuple):
    """What is known at one moment; None is what cannot be read or is not watched.

    `done_bytes` by the scheme, `refaults`: pages of it that came back, `stall_us`: some task waited for memory; these
    three are totals since some start. `swap_free_permil` of all swap is free.
    """

    now_ns: int
    done_bytes: int
    refaults: int | None = None
    stall_us: int | None = None
    swap_free_permil: int | None = None


@dataclass(frozen=True, slots=True)
class GuardStatus:
    """A guard as it is shown.

    `reason`: which limit was passed, empty at full speed; `allowance_bytes_per_sec`: None is full speed, 0 a pause, of
    which `pause_left_s` are left; `refaults`: pages that came back since the start.
    """

    phase: Phase
    reason: str
    allowance_bytes_per_sec: int | None
    pause_left_s: float
    refaults: int


@dataclass(slots=True)
class GuardState:
    """What one scheme's guard has decided, and an account of what the scheme does of it in each second.

    `allowance`: bytes a second, None at full speed; `pause_ns`: length of the next pause; `charged_bytes` in the second
    that began at `window_ns`. All times are of the readings' clock.
    """

    phase: Phase = Phase.FREE
    reason: str = ""
    allowance: int | None = None
    pause_ns: int = FIRST_PAUSE_NS
    charged_bytes: int = 0
    window_ns: int | None = None
    refaults: int = 0
    _until_ns: int = 0
    _quiet_since_ns: int = 0
    _readings: deque[Reading] = field(default_factory=deque)

    def take(self, guard: Guard, reading: Reading) -> bool:
        """Take in a reading, about once a second; tell whether the phase has changed."""
        before, now_ns = self.phase, reading.now_ns
        self.refaults = reading.refaults or self.refaults
        self._readings.append(reading)
        while len(self._readings) > 1 and self._readings[1].now_ns <= now_ns - WINDOW_NS:
            self._readings.popleft()
        excess, reason = self._worst(guard)
        if excess > 1:
            self.reason = reason
            self._back_off(excess, now_ns)
        elif self.phase is Phase.PAUSED and now_ns >= self._until_ns:
            self.phase, self.allowance, self._quiet_since_ns = Phase.TRYING, FIRST_TRIAL_BYTES_PER_SEC, now_ns
        elif self.phase is Phase.FREE:
            if now_ns - self._quiet_since_ns >= FORGIVEN_NS:
                self.pause_ns, self._quiet_since_ns = max(self.pause_ns // 2, FIRST_PAUSE_NS), now_ns
        elif self.phase is not Phase.PAUSED and now_ns - self._quiet_since_ns >= QUIET_NS:
            self._grow(now_ns)
        return self.phase is not before

    def limit(self, guard: Guard) -> int | None:
        """Return how many bytes a second the scheme may do; None: no limit."""
        limit = min(LIFTED if self.allowance is None else self.allowance, guard.swap_out_bytes_per_sec)
        return limit if limit < LIFTED else None

    def begin_window(self, now_ns: int) -> None:
        """Begin a new second of the account if it is time to."""
        began_ns = self.window_ns
        if began_ns is None or not 0 <= now_ns - began_ns < _S:
            late = began_ns is not None and _S <= now_ns - began_ns < 2 * _S
            self.window_ns = began_ns + _S if late and began_ns is not None else now_ns
            self.charged_bytes = 0

    def status(self, now_ns: int) -> GuardStatus:
        """Return what to show at that time."""
        paused = self.phase is Phase.PAUSED
        left_s = max(self._until_ns - now_ns, 0) / _S if paused else 0.0
        return GuardStatus(self.phase, self.reason, self.allowance, left_s, self.refaults)

    def _worst(self, guard: Guard) -> tuple[float, str]:
        """Return how many times a limit is passed, of all the most, and which."""
        first, last = self._readings[0], self._readings[-1]
        span_ns = max(last.now_ns - first.now_ns, WINDOW_NS)
        found: list[tuple[float, str]] = [(0, "")]
        if first.refaults is not None and last.refaults is not None:
            rate = (last.refaults - first.refaults) * _S / span_ns
            why = f"{rate:,.0f} pages a second came back, {guard.refault_per_sec:,} may"
            found.append((rate / max(guard.refault_per_sec, 1), why))
        works = last.done_bytes > first.done_bytes or self.phase is not Phase.FREE
        if first.stall_us is not None and last.stall_us is not None and works:  # else it is not its pressure
            permil = (last.stall_us - first.stall_us) * 1_000_000 / span_ns
            why = f"tasks waited for memory {permil / 10:.1f} % of the time, {guard.some_mem_psi_permil / 10:g} % may"
            found.append((permil / max(guard.some_mem_psi_permil, 1), why))
        free = last.swap_free_permil
        if free is not None and free < guard.swap_free_permil:
            why = f"{free / 10:g} % of swap are free, {guard.swap_free_permil / 10:g} % must be"
            found.append((2 * FAR, why))  # it does not get free by working slower
        return max(found)

    def _back_off(self, excess: float, now_ns: int) -> None:
        if self.phase is Phase.PAUSED:
            self._until_ns = max(self._until_ns, now_ns + QUIET_NS)
            return
        rate = self.allowance
        if rate is None:
            rate = (self._readings[-1].done_bytes - self._readings[0].done_bytes) * _S // WINDOW_NS
        half = rate // 2
        self._quiet_since_ns = now_ns
        self._readings = deque(list(self._readings)[-1:])  # what was seen is answered
        if self.phase is Phase.TRYING or excess > FAR or half < FIRST_TRIAL_BYTES_PER_SEC:
            self.phase, self.allowance = Phase.PAUSED, 0
            self._until_ns = now_ns + self.pause_ns
            self.pause_ns = min(2 * self.pause_ns, LONGEST_PAUSE_NS)
        else:
            self.phase, self.allowance = Phase.SLOW, half

    def _grow(self, now_ns: int) -> None:
        self._quiet_since_ns = now_ns
        self.allowance = int((self.allowance or 0) * GROWTH)
        if self.allowance >= FULL_SPEED_BYTES_PER_SEC:
            self.phase, self.allowance, self.reason = Phase.FREE, None, ""
