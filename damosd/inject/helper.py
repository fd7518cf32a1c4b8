# SPDX-License-Identifier: GPL-2.0-only
"""The inject helper: takes requests, and refuses what cannot be done safely."""

from __future__ import annotations

import os
import struct
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from damosd.inject import memory, seccomp
from damosd.inject.code import Code, Library, still_there
from damosd.inject.injection import MADVISE, Injection, LetGoError, is_64_bit
from damosd.inject.protocol import Reply
from damosd.inject.restart import ERESTART_RESTARTBLOCK, NO_CALL, RESTART_SYSCALL, Interrupted, rest_s
from damosd.inject.sockets import receive_timeout_s
from damosd.inject.stack import start_of_stack
from damosd.inject.threads import RefusedError, Status, Thread, candidates, status
from damosd.inject.tracee import Tracee

if TYPE_CHECKING:
    from collections.abc import Sequence

    from damosd.inject.protocol import Call, Request
    from damosd.inject.tracee import Registers

_SIGRETURN = 15
_ELF_32_BIT = b"\x7fELF\x01"
_STRICT, _FILTER = 1, 2
_TRIES = 3
_KNOWN = 256
_RSEQ_CS = 8  # offset of the pointer in struct rseq
_CRITICAL_SECTION = struct.Struct("<IIQQQ")  # struct rseq_cs: version, flags, start, length, abort


class TryAnotherError(Exception):
    """This thread cannot serve now, for the reason that the message gives; another may, or the same one later."""


@dataclass(slots=True)
class Helper:
    """Makes calls in processes. What is learnt of files and filters is kept.

    `exhausted` is set when a thread had to be given up: this process must end, for that lets it go.
    """

    library: Library = field(default_factory=Library)
    exhausted: bool = False
    _code: dict[int, Code] = field(default_factory=dict)
    _filters: dict[tuple[int, int], list[bytes]] = field(default_factory=dict)
    _sleeping: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    _resting: dict[int, float] = field(default_factory=dict)

    def serve(self, request: Request, pidfd: int, directory: int) -> Reply:
        """Make the calls of a request in the process that the two descriptors hold; the first keeps its number."""
        results: list[int] = []
        held_s, reason = 0.0, ""
        proc = f"/proc/self/fd/{directory}"
        try:
            threads = candidates(proc)  # first: of one that has ended or is stopped there is nothing else to tell
            maps = _read_maps(proc)
            code = self._find_code(request.pid, maps)
            _check_code(code, unprotected=request.unprotected)
            protected = code.protects()
            for thread in _served_by(self._rested(threads), maps, protected=protected)[:_TRIES]:
                found = status(proc, thread.tid)
                _check_status(found, unprotected=request.unprotected)
                injection = Injection(_seize(thread), code, results=results)
                try:
                    self._inject(injection, request, pidfd, found, maps, protected=protected)
                except TryAnotherError as error:
                    reason = str(error)
                    continue
                except RefusedError as error:
                    reason = str(error)
                finally:
                    held_s += injection.end()
                break
        except RefusedError as error:
            reason = "it runs 32-bit code" if _is_32_bit(proc) else str(error)
        except (FileNotFoundError, ProcessLookupError):
            reason = "it has ended"
        except LetGoError as error:
            self.exhausted, reason = True, str(error)
        except OSError as error:
            reason = str(error)
        if len(results) == len(request.calls):
            reason = ""
        return Reply(tuple(results), reason, round(held_s * 1e6), self.exhausted)

    def _find_code(self, pid: int, maps: str) -> Code:
        """Return where calls can be made: where it was the last time, if the instructions are still there."""
        code = self._code.get(pid)
        if code is None or not still_there(pid, code):
            try:
                code = self.library.find(pid, maps)
            except PermissionError as error:
                raise RefusedError(f"its memory may not be read: {error.strerror} (CAP_SYS_PTRACE)") from error
            self._code = {**self._code, pid: code} if len(self._code) < _KNOWN else {pid: code}
        return code

    def _rested(self, threads: list[Thread]) -> list[Thread]:
        """Leave out threads whose timeouts we would put off without end."""
        now = time.monotonic()
        self._resting = {tid: until for tid, until in self._resting.items() if until > now}
        rested = [thread for thread in threads if thread.tid not in self._resting]
        if not rested:
            raise RefusedError("its threads wait in calls with a timeout, which was begun anew for us a moment ago")
        return rested

    def _inject(
        self, injection: Injection, request: Request, pidfd: int, known: Status, maps: str, *, protected: bool
    ) -> None:
        registers = injection.stop()
        tid = injection.tracee.tid
        if Interrupted(registers.rax, registers.orig_rax, registers.rip).was_begun_again:
            arguments = {name: getattr(registers, name) for name in ("rdi", "rdx", "r10", "r8")}
            rest = rest_s(registers.orig_rax, arguments, partial(memory.read, tid), partial(receive_timeout_s, pidfd))
            self._resting[tid] = time.monotonic() + rest
        if not is_64_bit(registers):
            raise injection.forget("it runs 32-bit code")
        if in_critical_section(injection.tracee, registers):
            injection.let_go()
            raise TryAnotherError("it is in the middle of a restartable sequence")
        stack = start_of_stack(maps, registers.rsp) if protected else 1
        if not stack:
            injection.let_go()
            raise TryAnotherError("it does not run on a stack that has room for a signal frame")
        if injection.tracee.dispatches_system_calls():
            raise injection.forget("it catches its own system calls")
        injection.number = self._interrupted_call(tid, registers)
        if known.seccomp_mode == _FILTER:
            key = tid, known.seccomp_filters
            if key not in self._filters:
                self._filters = {key: _filters_of(injection)}
            if reason := judge(self._filters[key], request.calls, injection.code):
                raise injection.forget(reason)
        injection.run(registers, request.calls, stack, protected=protected)

    def _interrupted_call(self, tid: int, registers: Registers) -> int | None:
        """Return which call a thread is in that was restarted once already, if it was us who made it restart."""
        state = Interrupted(registers.rax, registers.orig_rax, registers.rip)
        if state.error != ERESTART_RESTARTBLOCK:
            self._sleeping.pop(tid, None)
            return None
        if state.orig_rax != RESTART_SYSCALL:
            self._sleeping[tid] = registers.rip, registers.rsp, registers.orig_rax
            return None
        rip, rsp, number = self._sleeping.get(tid, (0, 0, 0))
        return number if (rip, rsp) == (registers.rip, registers.rsp) else None


def judge(programs: list[bytes], calls: Sequence[Call], code: Code) -> str:
    """Return why seccomp filters forbid the calls or the way home from them; nothing when they do not."""
    wanted: list[tuple[int, Sequence[int], int]] = [(_SIGRETURN, (), code.sigreturn)]
    one_of_each = {call.advice: call for call in calls}.values()
    wanted += [(MADVISE, call, code.syscall_return or code.bare_syscall) for call in one_of_each]
    for number, arguments, address in wanted:
        try:
            verdict = seccomp.judge(programs, number, arguments, address)
        except ValueError as error:
            return str(error)
        if not verdict.harmless:
            name = "madvise" if number == MADVISE else "rt_sigreturn"
            return f"its seccomp filter does not let {name} through ({verdict.name.lower()})"
    return ""


def in_critical_section(tracee: Tracee, registers: Registers) -> bool:
    """Tell whether the stopped thread must not be moved: the kernel would no longer see that it was disturbed."""
    address = tracee.restartable_sequences() if registers.orig_rax == NO_CALL else 0
    if not address:
        return False
    try:
        section = int.from_bytes(memory.read(tracee.tid, address + _RSEQ_CS, 8), "little")
        if not section:
            return False
        _, _, start, length, _ = _CRITICAL_SECTION.unpack(memory.read(tracee.tid, section, _CRITICAL_SECTION.size))
    except (OSError, struct.error):
        return True
    return bool(start <= registers.rip < start + length)


def _read_maps(proc: str) -> str:
    try:
        return Path(proc, "maps").read_text(errors="replace")
    except PermissionError as error:
        raise RefusedError(f"its memory map may not be read: {error.strerror} (CAP_SYS_PTRACE)") from error


def _is_32_bit(proc: str) -> bool:
    """Tell whether its calls have other numbers than ours, so that other reasons are beside the point."""
    try:
        with Path(proc, "exe").open("rb") as file:
            return file.read(len(_ELF_32_BIT)) == _ELF_32_BIT
    except OSError:
        return False


def _filters_of(injection: Injection) -> list[bytes]:
    try:
        return injection.tracee.seccomp_filters()
    except OSError as error:
        reason = (
            f"its seccomp filter cannot be read: {os.strerror(error.errno or 0)} (CAP_SYS_ADMIN, no filter of ours)"
        )
        raise injection.forget(reason) from error


def _check_code(code: Code, *, unprotected: bool) -> None:
    if code.protects() or (unprotected and code.bare_syscall):
        return
    if unprotected:
        raise RefusedError("it has no `syscall` instruction in its libraries")
    raise RefusedError("it has no `syscall; ret` or no sigreturn in its libraries, so it might not survive our death")


def _check_status(found: Status, *, unprotected: bool) -> None:
    if found.tracer:
        raise RefusedError("it is traced by another process already")
    if found.seccomp_mode == _STRICT:
        raise RefusedError("it is under strict seccomp")
    if found.shadow_stack and not unprotected:
        raise RefusedError("it has a shadow stack, so it might not survive our death")


def _served_by(threads: list[Thread], maps: str, *, protected: bool) -> list[Thread]:
    """Leave out the threads of which it can be told beforehand that their stacks cannot hold a frame."""
    if not protected:
        return threads
    fit = [one for one in threads if not one.stack or start_of_stack(maps, one.stack)]
    if not fit:
        raise RefusedError("none of its threads sleeps on a stack that has room for a signal frame")
    return fit


def _seize(thread: Thread) -> Tracee:
    try:
        return Tracee(thread.tid)
    except PermissionError as error:
        raise RefusedError(
            f"it may not be traced: {error.strerror} (CAP_SYS_PTRACE; kernel.yama.ptrace_scope below 3)"
        ) from error
