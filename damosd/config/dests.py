# SPDX-License-Identifier: GPL-2.0-only
"""`target_nid` and `dests`: the NUMA nodes that a scheme migrates memory to."""

# Pydantic reads the annotations while this module runs: do not postpone them.
from collections.abc import Iterator, Sequence
from typing import Self

from pydantic import model_validator

from damosd.config.base import Fault, Model, refuse
from damosd.config.words import Count
from damosd.damos.scheme import Action, Dest

_MIGRATIONS = (Action.MIGRATE_HOT, Action.MIGRATE_COLD)


class DestModel(Model):
    """One node and its share. `id` is damo's `nid`."""

    nid: Count | None = None
    id: Count | None = None
    weight: Count = 1

    @model_validator(mode="after")
    def _possible(self) -> Self:
        refuse(self._faults())
        return self

    def _faults(self) -> Iterator[Fault]:
        if self.nid is None and self.id is None:
            yield Fault((), "the key 'nid' is missing: the number of the NUMA node")
        if self.nid is not None and self.id is not None:
            yield Fault(("id",), "'id' is another word for 'nid': write one of them", at_key=True)
        if not self.weight:
            yield Fault(("weight",), "weight must be 1 or more; leave out nodes that are to get nothing")

    def to_dest(self) -> Dest:
        """Return the node as the engine has it."""
        return Dest(self.nid if self.nid is not None else self.id or 0, self.weight)


def dests_faults(action: Action, target_nid: int | None, dests: Sequence[DestModel]) -> Iterator[Fault]:
    """Find what is wrong with these keys of one scheme."""
    given = [key for key, there in (("target_nid", target_nid is not None), ("dests", bool(dests))) if there]
    if action not in _MIGRATIONS:
        for key in given:
            message = f"'{key}' is for actions {' and '.join(_MIGRATIONS)}, not for '{action}'"
            yield Fault((key,), message, at_key=True)
    elif not given:
        message = f"action '{action}' needs 'target_nid', or 'dests' for several nodes: where is the memory to go?"
        yield Fault(("action",), message)
    elif len(given) > 1:
        yield Fault(("dests",), "'target_nid' is given as well: write one of them", at_key=True)


def to_dests(target_nid: int | None, dests: Sequence[DestModel]) -> tuple[Dest, ...]:
    """Return the nodes as the engine has them."""
    return tuple(one.to_dest() for one in dests) if target_nid is None else (Dest(target_nid),)
