# SPDX-License-Identifier: GPL-2.0-only
"""`filters`, `core_filters` and `ops_filters`: memory that a scheme leaves out, or is only for."""

# Pydantic reads the annotations while this module runs: do not postpone them.
from collections.abc import Callable, Iterator
from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, PlainValidator, model_validator

from damosd.config import written
from damosd.config.base import Fault, Model, kind_of, refuse
from damosd.config.words import Bool, CgroupPath, Count, Name, choice
from damosd.damos.scheme import UNLIMITED, Filter, FilterType
from damosd.units import UnitError, nearest, parse_size, shown

_ABSENT = {
    "probe_hits_wsum": "filter type 'probe_hits_wsum' is of physical memory, which damosd does not monitor; "
    f"it has {', '.join(FilterType)}"
}
_Type = Annotated[FilterType, BeforeValidator(choice(FilterType, "filter type", "'anon'", _ABSENT))]

_TARGET_KEYS = ("target_idx", "damon_target_idx")
_ARGUMENTS: dict[FilterType, tuple[str, ...]] = {
    FilterType.ADDR: ("address_range",),
    FilterType.TARGET: _TARGET_KEYS,
    FilterType.MEMCG: ("memcg_path",),
    FilterType.HUGEPAGE_SIZE: ("hugepage_size",),
    FilterType.MAPPING: ("mapping",),
}
_OWNERS = {key: kind for kind, keys in _ARGUMENTS.items() for key in keys}
_EXAMPLES = {
    "address_range": "{start: 4 GiB, end: 5 GiB}",
    "target_idx": "0",
    "memcg_path": "/batch",
    "hugepage_size": "[2 MiB, max]",
    "mapping": "'*/libc.so*'",
}


def _two_sizes(first: str, second: str, *, end_is_out: bool) -> Callable[[Any], tuple[int, int]]:
    """Return a reader of `[4K, 8K]` or a mapping of the keys `first` and `second`, in bytes; the second is not less.

    `end_is_out` tells that it may not be equal either. Every mistake is raised at its place.
    """
    form = f"[{first}, {second}] or {{{first}: ..., {second}: ...}}"

    def parse(value: Any) -> tuple[int, int]:
        if not isinstance(value, list | dict):
            raise ValueError(f"expected two sizes, {form}, not {kind_of(value)}")  # noqa: TRY004  # pydantic's way
        if isinstance(value, list) and len(value) != 2:
            raise ValueError(f"expected two sizes, {form}, not {len(value)}")
        entries: dict[str | int, Any] = dict(value) if isinstance(value, dict) else dict(enumerate(value))
        places = (first, second) if isinstance(value, dict) else (0, 1)
        refuse(_keys_faults(entries, *places))
        faults, sizes = [], []
        for place in places:
            try:
                sizes.append(_size(entries[place]))
            except ValueError as error:
                faults.append(Fault((place,), str(error)))
        refuse(faults)
        low, high = sizes
        if low > high or (end_is_out and low == high):
            texts = [shown(entries[place]) for place in places]
            refuse([Fault((places[0],), f"{first} {texts[0]} is not below {second} {texts[1]}: nothing can match")])
        return low, high

    return parse


def _keys_faults(entries: dict[str | int, Any], *known: str | int) -> Iterator[Fault]:
    names = [str(key) for key in known]
    for key in entries:
        if key not in known:
            guess = nearest(str(key), names)
            advice = f"did you mean '{guess}'?" if guess else f"the keys here are {', '.join(names)}"
            yield Fault((key,), f"unknown key {shown(str(key))}, {advice}", at_key=True)
    for key in known:
        if key not in entries:
            yield Fault((key,), f"the key '{key}' is missing")


def _size(value: Any) -> int:
    if not isinstance(value, str):
        raise UnitError(f"expected text such as '4 GiB', not {kind_of(value)}")
    return parse_size(value)


_parse_range = _two_sizes("start", "end", end_is_out=True)
_parse_sizes = _two_sizes("min", "max", end_is_out=False)
AddressRange = Annotated[tuple[int, int], PlainValidator(_parse_range), written.two_sizes("start", "end")]
PageSizes = Annotated[tuple[int, int], PlainValidator(_parse_sizes), written.two_sizes("min", "max")]


class FilterModel(Model):
    """One filter, with the argument that its type takes, if any. `damon_target_idx` is damo's `target_idx`."""

    layer: ClassVar[str] = "filters"

    filter_type: _Type
    matching: Bool
    allow: Bool = False
    address_range: AddressRange | None = None
    target_idx: Count | None = None
    damon_target_idx: Count | None = None
    memcg_path: CgroupPath | None = None
    hugepage_size: PageSizes | None = None
    mapping: Name | None = None

    @model_validator(mode="before")
    @classmethod
    def _as_damo_writes(cls, data: Any) -> Any:
        """Read the older word for `allow`, and take the empty path of another type for none."""
        if not isinstance(data, dict):
            return data
        if data.get("filter_type") != FilterType.MEMCG:
            data = {key: value for key, value in data.items() if (key, value) != ("memcg_path", "")}
        return {"allow" if key == "filter_pass" and "allow" not in data else key: value for key, value in data.items()}

    @model_validator(mode="after")
    def _possible(self) -> Self:
        refuse(self._faults())
        return self

    def _faults(self) -> Iterator[Fault]:
        kind, takes = self.filter_type, _ARGUMENTS.get(self.filter_type, ())
        home = "core_filters" if kind.is_core else "ops_filters"
        if self.layer not in ("filters", home):
            yield Fault(("filter_type",), f"'{kind}' filters belong to {home} or filters, not to {self.layer}")
        given = [key for key in _OWNERS if getattr(self, key) is not None]
        for key in given:
            if key not in takes:
                advice = f"'{kind}' takes '{takes[0]}'" if takes else f"'{kind}' takes no argument"
                yield Fault((key,), f"'{key}' is for filter type '{_OWNERS[key]}': {advice}", at_key=True)
        right = [key for key in given if key in takes]
        if takes and not right:
            message = f"filter type '{kind}' needs '{takes[0]}', for example {takes[0]}: {_EXAMPLES[takes[0]]}"
            yield Fault(("filter_type",), message)
        if len(right) > 1:
            yield Fault((right[1],), f"'{right[1]}' is another word for '{right[0]}': write one of them", at_key=True)

    def to_filter(self) -> Filter:
        """Return the filter as the engine has it."""
        return Filter(
            type=self.filter_type,
            matching=self.matching,
            allow=self.allow,
            address_range=self.address_range or (0, 0),
            target=self.target_idx or self.damon_target_idx or 0,
            memcg_path=self.memcg_path or "",
            hugepage_size=self.hugepage_size or (0, UNLIMITED),
            mapping=self.mapping or "",
        )


class CoreFilterModel(FilterModel):
    """A filter for which regions are enough to decide."""

    layer: ClassVar[str] = "core_filters"


class OpsFilterModel(FilterModel):
    """A filter that looks at single pages."""

    layer: ClassVar[str] = "ops_filters"
