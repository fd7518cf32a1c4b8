# SPDX-License-Identifier: GPL-2.0-only
"""One injection: hold a thread, have it make some calls, let it go as if nothing had been.

From the first change of its registers on, the thread would find its way home without us: wherever we stop being there,
it ends the call that it is in, returns into the signal frame below its stack, and so gets back what it had. The order
of the steps is what makes that true; do not change it without reading the comments.
"""

from __future__ import annotations

import math
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from damosd.errors import TargetGoneError
from damosd.inject import frame, memory, xstate
from damosd.inject.restart import NO_CALL, Interrupted, begun_again, left_to_kernel
from damosd.inject.threads import RefusedError
from damosd.inject.tracee import Registers, Stop, TimeIsUpError, Tracee

if TYPE_CHECKING:
    from collections.abc import Sequence

    from damosd.inject.code import Code
    from damosd.inject.protocol import Call

MADVISE = 28
MAX_HELD_S = 0.05
_ENOUGH_S = 0.005
"""After this time no further call is begun: the rest is for another stop."""
_MAX_WAIT_S = 0.1
"""How long to wait until the thread stops. It is not held yet: it may be waiting for a CPU, or for a disk."""
_ROOM_BYTES = 16384
"""What must be left of a stack below the frame, for the signal handlers of the program itself."""
_USER_CODE_SEGMENT = 0x33
_NAMES = tuple(field[0] for field in Registers._fields_)


class LetGoError(Exception):
    """The thread was given up while it ran: only the end of this process lets it go. It goes home by itself."""


@dataclass(slots=True)
class Injection:
    """What is under way in one thread, and what has come of it.

    `results`: of the calls made so far; `held_s`: how long it was held.
    """

    tracee: Tracee
    code: Code
    number: int | None = None
    results: list[int] = field(default_factory=list)
    held_s: float = 0.0
    _since: float = 0.0
    _home: Registers | None = None
    _mask: int = 0
    _signal: int = 0

    def stop(self) -> Registers:
        """Stop the thread, and return its registers, with which it would go on as if it had not been stopped.

        Raises RefusedError when it cannot serve (it is let go), LetGoError, TargetGoneError.
        """
        self.tracee.interrupt()
        limit = time.monotonic() + _MAX_WAIT_S
        while True:
            try:
                stopped = self.tracee.wait(limit)
            except TimeIsUpError as error:
                raise LetGoError("it did not stop in time") from error
            if stopped.kind is not Stop.SIGNAL:
                break
            self.tracee.go_on(signal_number=stopped.signal)  # it is the program's; we come after it
        self._since = time.monotonic()
        if stopped.kind is Stop.GROUP:
            raise self.forget("it is stopped by a signal")
        registers = self.tracee.registers()
        state = Interrupted(registers.rax, registers.orig_rax, registers.rip)
        if (restarted := left_to_kernel(state)) != state:
            # At once: till then the program would see EINTR if we let it go, or die.
            registers = _with(registers, restarted)
            self.tracee.set_registers(registers)
        return registers

    def run(self, registers: Registers, calls: Sequence[Call], stack_start: int, *, protected: bool) -> None:
        """Make `calls` in the stopped thread, let it go, and fill `results`.

        `registers` as `stop` returned them; `stack_start`: where the stack's mapping begins. Fewer calls are made when
        they take long. Raises RefusedError when one cannot be made (it is let go), LetGoError, TargetGoneError.
        """
        state = Interrupted(registers.rax, registers.orig_rax, registers.rip)
        start = Registers.from_buffer_copy(registers)
        start.rip, start.orig_rax = (self.code.syscall_return if protected else self.code.bare_syscall), NO_CALL
        try:
            self._mask = self.tracee.signal_mask()
            if protected:
                start.rsp = self._lay_frame(_with(registers, begun_again(state, self.number)), stack_start)
            self._home = registers
            # The first registers come before the mask: with only the mask changed, nothing would change it back.
            self._set_call(start, calls[0])
            self.tracee.set_signal_mask()
            deadline = self._since + MAX_HELD_S if protected else math.inf
            for index, call in enumerate(calls, 1):
                last = index == len(calls) or time.monotonic() > self._since + _ENOUGH_S
                if index > 1:
                    self._set_call(start, call)
                self.results.append(self._call(deadline, last=last))
                if last:
                    break
        except TimeIsUpError as error:
            raise LetGoError("a call took too long") from error
        finally:
            if self.tracee.stopped is not None:
                self.let_go()

    def forget(self, reason: str) -> RefusedError:
        """Let the stopped thread go, of which nothing was changed; return the error to raise."""
        self.let_go()
        return RefusedError(reason)

    def let_go(self) -> None:
        """Give the stopped thread back all it had, and detach. One that has gone needs nothing."""
        with suppress(TargetGoneError):
            if self._home is not None:
                # The mask comes before the registers: with them, the way home by the frame is lost.
                self.tracee.set_signal_mask(self._mask)
                self.tracee.set_registers(self._home)
            self.tracee.detach(self._signal)
        self.held_s += time.monotonic() - self._since

    def end(self) -> float:
        """Let the thread go if it still stands, whatever has happened; return how long it was held, in seconds."""
        if self.tracee.stopped is not None:
            self.let_go()
        return self.held_s

    def _lay_frame(self, registers: Registers, stack_start: int) -> int:
        """Write the frame below the thread's stack; return its address."""
        vector_state = self.tracee.vector_state()
        made = frame.build(
            {name: getattr(registers, name) for name in _NAMES},
            vector_state,
            xstate.size_for(vector_state),
            self._mask,
            self.code.sigreturn,
        )
        if made.address - _ROOM_BYTES < stack_start:
            raise RefusedError("there is no room on its stack")
        try:
            memory.write(self.tracee.tid, made.address, made.data)
        except OSError as error:
            raise RefusedError(f"its stack cannot be written: {error}") from error
        return made.address

    def _set_call(self, start: Registers, call: Call) -> None:
        start.rax, start.rdi, start.rsi, start.rdx = MADVISE, call.start, call.size, call.advice
        self.tracee.set_registers(start)

    def _call(self, deadline: float, *, last: bool) -> int:
        """Let the thread make the call that its registers are set for; return its result. Raises TimeIsUpError."""
        self._until(Stop.SYSCALL, deadline)
        if last:
            # It must stop again where the kernel still looks at signals and restarts, not at the call's exit: from
            # there an interrupted call of its own would not be begun again.
            self.tracee.interrupt()
            self._until(Stop.EVENT, deadline, to_system_call=False)
        else:
            self._until(Stop.SYSCALL, deadline)
        return self.tracee.result()

    def _until(self, kind: Stop, deadline: float, *, to_system_call: bool = True) -> None:
        """Let the thread run until it stops so. Raises TimeIsUpError, and RefusedError when a signal stops it."""
        while True:
            self.tracee.go_on(to_system_call=to_system_call)
            stopped = self.tracee.wait(deadline)
            if stopped.kind is kind or (kind is Stop.EVENT and stopped.kind is Stop.GROUP):
                return
            if stopped.kind is Stop.SIGNAL:
                raise self._ended_by(stopped.signal)

    def _ended_by(self, number: int) -> RefusedError:
        """Return the error for a signal that cannot be blocked: SIGSTOP, or a fault of our own making.

        SIGSTOP is delivered when the thread is let go: only from this stop on can the kernel tell when SIGCONT, which
        may come at any moment, has ended it.
        """
        if number in _FAULTS:
            return RefusedError(f"it could not run the call: signal {number}")
        self._signal = number
        return RefusedError("it is stopped by a signal")


_FAULTS = frozenset({4, 5, 7, 8, 11, 31})  # ILL, TRAP, BUS, FPE, SEGV, SYS


def _with(registers: Registers, state: Interrupted) -> Registers:
    changed = Registers.from_buffer_copy(registers)
    changed.rax, changed.orig_rax, changed.rip = state.rax, state.orig_rax, state.rip
    return changed


def is_64_bit(registers: Registers) -> bool:
    """Tell whether a thread runs 64-bit code."""
    return bool(registers.cs == _USER_CODE_SEGMENT)
