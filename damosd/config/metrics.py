# SPDX-License-Identifier: GPL-2.0-only
"""`metrics`: where the daemon's figures are to be had."""

# Pydantic reads the annotations while this module runs: do not postpone them.
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, model_validator

from damosd.config.base import Fault, Model, refuse, text
from damosd.config.settings import MetricsSettings
from damosd.config.words import TimeUs, one_line
from damosd.units import MAX, format_time_us, shown

_EXAMPLE = "127.0.0.1:9753"
_EXAMPLE_FILE = "/var/lib/prometheus/node-exporter/damosd.prom"
_SHORTEST_US = 1_000_000
_MOST_PORT = 65535
_SUFFIX = ".prom"


def _listen(word: str) -> tuple[str, int]:
    """Read '127.0.0.1:9753', '[::1]:9753' or '9753', which is the first of these."""
    host, colon, port = word.strip().rpartition(":")
    if not port.isascii() or not port.isdecimal() or not 0 < int(port[:6]) <= _MOST_PORT:
        raise ValueError(f"{shown(word)} does not end in a port from 1 to {_MOST_PORT}, as in '{_EXAMPLE}'")
    if not host and colon:
        advice = f"write '127.0.0.1:{port}' for this machine only, or '0.0.0.0:{port}' for everybody"
        raise ValueError(f"{shown(word)} does not say who may ask: {advice}")
    return _address(host or "127.0.0.1", word), int(port)


def _address(host: str, word: str) -> str:
    try:
        if host.startswith("[") and host.endswith("]"):
            return str(IPv6Address(host[1:-1]))
        return str(IPv4Address(host))
    except ValueError:
        message = f"{shown(word)} is no address and port; names are not looked up: write for example '{_EXAMPLE}'"
        raise ValueError(f"{message} or '[::1]:9753'") from None


def _textfile(word: str) -> Path:
    path = Path(one_line(word))
    if not path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{shown(word)} is no absolute path: write for example '{_EXAMPLE_FILE}'")
    if path.suffix != _SUFFIX:
        raise ValueError(f"{shown(word)} does not end in '{_SUFFIX}': node_exporter reads no other files")
    return path


def _interval(time_us: int) -> int:
    if not _SHORTEST_US <= time_us < MAX:
        raise ValueError(f"it must be at least {format_time_us(_SHORTEST_US)}, for example '15 s'")
    return time_us


class MetricsModel(Model):
    """Nothing is exported unless it says where."""

    listen: Annotated[tuple[str, int], BeforeValidator(text(_listen, f"'{_EXAMPLE}'"))] | None = None
    textfile: Annotated[Path, BeforeValidator(text(_textfile, f"'{_EXAMPLE_FILE}'"))] | None = None
    interval: Annotated[TimeUs, AfterValidator(_interval)] = MetricsSettings().interval_us

    @model_validator(mode="after")
    def _possible(self) -> Self:
        refuse(self._faults())
        return self

    def _faults(self) -> Iterator[Fault]:
        if "interval" in self.model_fields_set and self.textfile is None:
            message = "interval is how often 'textfile' is written, which is not there; who listens is asked"
            yield Fault(("interval",), message, at_key=True)

    def to_settings(self) -> MetricsSettings:
        """Return what the file says."""
        return MetricsSettings(self.listen, self.textfile, self.interval)
