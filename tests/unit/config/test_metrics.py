# SPDX-License-Identifier: GPL-2.0-only
"""`metrics` of the main file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from damosd.config.findings import keys_of
from damosd.config.mainfile import load_main_file
from damosd.config.metrics import MetricsModel
from damosd.config.problems import ConfigFileError
from damosd.config.settings import MetricsSettings

DOC = Path(__file__).parents[3].joinpath("docs", "metrics.md").read_text(encoding="utf-8")


def load(folder: Path, text: str) -> MetricsSettings:
    """Load a main file with `metrics: text`."""
    path = folder / "damosd.yaml"
    path.write_text(f"metrics: {text}\n")
    return load_main_file(path).metrics


def test_nothing_is_exported_unless_said(tmp_path: Path) -> None:
    """A file without the key, or with an empty one, exports nothing."""
    assert load(tmp_path, "") == load(tmp_path, "{listen:, textfile:}") == MetricsSettings(None, None)


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("127.0.0.1:9753", ("127.0.0.1", 9753)),
        ("9753", ("127.0.0.1", 9753)),
        ("'[::1]:1'", ("::1", 1)),
        ("0.0.0.0:65535", ("0.0.0.0", 65535)),
    ],
)
def test_addresses(tmp_path: Path, listen: str, address: tuple[str, int]) -> None:
    """A port alone is on this machine only; anything else must be written."""
    assert load(tmp_path, f"{{listen: {listen}}}").listen == address


def test_a_textfile(tmp_path: Path) -> None:
    """It is a path, written every 15 s unless the file says otherwise."""
    path = Path("/var/lib/x/damosd.prom")
    assert load(tmp_path, f"{{textfile: {path}}}") == MetricsSettings(None, path, 15_000_000)
    assert load(tmp_path, f"{{textfile: {path}, interval: 1 m}}") == MetricsSettings(None, path, 60_000_000)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{listen: localhost:9753}", r"1:19: 'localhost:9753' is no address and port; names are not looked up"),
        ("{listen: '::1:9753'}", r"write for example '127.0.0.1:9753' or '\[::1\]:9753'"),
        ("{listen: ':9753'}", "does not say who may ask: .*'0.0.0.0:9753' for everybody"),
        ("{listen: 127.0.0.1}", "does not end in a port from 1 to 65535"),
        ("{listen: 127.0.0.1:0}", "does not end in a port"),
        ("{listen: 127.0.0.1:65536}", "does not end in a port"),
        (f"{{listen: 127.0.0.1:{'9' * 10_000}}}", "does not end in a port"),
        ("{listen: 127.0.0.1:९}", "does not end in a port"),
        ("{listen: [1]}", "expected text such as '127.0.0.1:9753', not a list"),
        ("{textfile: damosd.prom}", "is no absolute path"),
        ("{textfile: /a/../b.prom}", "is no absolute path"),
        ("{textfile: /a/damosd.txt}", "does not end in '.prom': node_exporter reads no other files"),
        ("{textfile: /a/.prom}", "does not end in '.prom'"),
        ('{textfile: "/a/\\n.prom"}', "is no name"),
        ("{textfile: /a/b.prom, interval: 10 ms}", "it must be at least 1 s"),
        ("{textfile: /a/b.prom, interval: max}", "it must be at least 1 s"),
        ("{interval: 10 s}", "1:11: interval is how often 'textfile' is written, which is not there"),
        ("{port: 9753}", "unknown key 'port', the keys here are listen, textfile, interval"),
        ("9753", "expected a mapping with keys from listen, textfile, interval, not text"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, told: str) -> None:
    """Each is told with its place and what to write instead."""
    with pytest.raises(ConfigFileError, match=told):
        load(tmp_path, text)


def test_the_documentation(tmp_path: Path) -> None:
    """Its example can be copied, says what the default interval is, and every key is explained."""
    (text,) = re.findall(r"^```yaml\n(metrics:.*?)^```$", DOC, re.DOTALL | re.MULTILINE)
    path = tmp_path / "damosd.yaml"
    path.write_text(text)
    textfile = Path("/var/lib/prometheus/node-exporter/damosd.prom")
    settings = MetricsSettings(("127.0.0.1", 9753), textfile)
    assert load_main_file(path).metrics == settings
    assert set(re.findall(r"^\| `([a-z]+)` \|", DOC, re.MULTILINE)) == set(keys_of(MetricsModel))
