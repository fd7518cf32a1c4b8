# SPDX-License-Identifier: GPL-2.0-only
"""`guard`: limits at which a scheme backs off."""

# Pydantic reads the annotations while this module runs: do not postpone them.
from collections.abc import Iterator
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, model_validator

from damosd.config import written
from damosd.config.base import Fault, Model, refuse, text
from damosd.config.words import BOOLEANS, PERMIL, Bool, CgroupPath, Permil, SizeBytes, parse_rate
from damosd.core.attrs import PAGE_SIZE
from damosd.damos.guard import LIFTED, Guard
from damosd.units import UnitError, parse_number, shown

_SWITCH = {**BOOLEANS, "on": True, "off": False}


def _or_max(word: str) -> int:
    return LIFTED if word.strip() == "max" else parse_number(word)


def _permil_or_max(word: str) -> int:
    return LIFTED if word.strip() == "max" else parse_rate(word, PERMIL)


_Rate = Annotated[int, BeforeValidator(text(_or_max, "'256'")), written.COUNT_OR_MAX]
_PermilOrMax = Annotated[int, BeforeValidator(text(_permil_or_max, "'10 %'")), written.PARTS_OR_MAX]


class GuardModel(Model):
    """What keeps a scheme from thrashing: on, with limits for everybody, unless it says otherwise."""

    enabled: Bool = True
    refault_per_sec: _Rate = Guard().refault_per_sec
    swap_free_permil: Permil = Guard().swap_free_permil
    some_mem_psi_permil: _PermilOrMax = Guard().some_mem_psi_permil
    memcg_path: CgroupPath | None = None
    swap_out_bytes_per_sec: SizeBytes = Guard().swap_out_bytes_per_sec
    rss_floor_bytes: SizeBytes = Guard().rss_floor_bytes

    @model_validator(mode="before")
    @classmethod
    def _switch(cls, data: Any) -> Any:
        """Read `guard: off`."""
        if not isinstance(data, str):
            return data
        if data.casefold() not in _SWITCH:
            raise UnitError(f"{shown(data)} is neither on nor off; write 'off', or a mapping with limits")
        return {"enabled": str(_SWITCH[data.casefold()])}

    @model_validator(mode="after")
    def _possible(self) -> Self:
        refuse(self._faults())
        return self

    def _faults(self) -> Iterator[Fault]:
        for key in ("refault_per_sec", "some_mem_psi_permil"):
            if not getattr(self, key):
                yield Fault((key,), f"{key} must be more than 0, or 'max' for no limit")
        if self.swap_out_bytes_per_sec < PAGE_SIZE:
            message = f"swap_out_bytes_per_sec must be a page of {PAGE_SIZE} bytes at least, or 'max' for no limit"
            yield Fault(("swap_out_bytes_per_sec",), message)
        if self.memcg_path is not None and self.some_mem_psi_permil == LIFTED:
            yield Fault(("memcg_path",), "memcg_path is for some_mem_psi_permil, which is 'max'", at_key=True)
        if not self.enabled and (idle := sorted(self.model_fields_set - {"enabled"})):
            yield Fault((idle[0],), f"{idle[0]} means nothing while the guard is not enabled", at_key=True)

    def to_guard(self) -> Guard:
        """Return the guard as the engine has it."""
        return Guard(
            enabled=self.enabled,
            refault_per_sec=self.refault_per_sec,
            swap_free_permil=self.swap_free_permil,
            some_mem_psi_permil=self.some_mem_psi_permil,
            memcg_path=self.memcg_path or "",
            swap_out_bytes_per_sec=self.swap_out_bytes_per_sec,
            rss_floor_bytes=self.rss_floor_bytes,
        )
