# SPDX-License-Identifier: GPL-2.0-only
"""What efficient huge pages save and gain, against none and huge pages everywhere, on a thinly used mapping."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Self

from bench.lab.daemon import Daemon
from bench.lab.huge_pages import thp_mode
from bench.report import Row
from damosd.linux import process

_ROUNDS = 3
_SETTLE_S = 20.0
_WINDOW_S = 8.0
_MANY = 3000
_ETHP = "schemes/ethp.yaml"


@dataclass
class _Sparse:
    """The program of `bench.lab.sparse`, ready once entered."""

    arguments: list[str]
    rates: list[float] = field(default_factory=list)
    intact: bool = False

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "bench.lab.sparse", *self.arguments]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        self._process.stdout.readline()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self.intact = self._process.wait() == 0
        self._reader.join()
        assert self._process.stdout
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self.rates.append(json.loads(line)["mreads_per_cpu_s"])

    @property
    def pid(self) -> str:
        """Its process."""
        return str(self._process.pid)

    def rate(self) -> float:
        """Return the median of its reads, in millions a second, over a while from now."""
        first = len(self.rates) + 1
        time.sleep(_WINDOW_S)
        return median(self.rates[first:])

    def rss_mib(self) -> float:
        """Return its resident set."""
        return process.resident_bytes(f"/proc/{self.pid}") / (1 << 20)

    def nr_mappings(self) -> int:
        """Return how many mappings it has."""
        return Path(f"/proc/{self.pid}/maps").read_text().count("\n")


def _plain(mode: str) -> tuple[float, float, bool]:
    with thp_mode(mode), _Sparse([]) as program:
        time.sleep(2)
        figures = program.rate(), program.rss_mib()
    return *figures, program.intact


def _under_ethp() -> tuple[float, float, bool]:
    with thp_mode("madvise"), _Sparse([]) as program:
        with Daemon(["--pid", program.pid, "--scheme", _ETHP]):
            time.sleep(_SETTLE_S)
            figures = program.rate(), program.rss_mib()
    return *figures, program.intact


def ethp() -> list[Row]:
    """Run the program three times without huge pages, with them everywhere, and with schemes/ethp.yaml, in turn."""
    rounds = [(_plain("never"), _plain("always"), _under_ethp()) for _ in range(_ROUNDS)]
    speeds = [[one[0] for one in kind] for kind in zip(*rounds, strict=True)]
    sizes = [[one[1] for one in kind] for kind in zip(*rounds, strict=True)]
    intact = all(one[2] for kind in rounds for one in kind)
    kept = [(ours[0] - never[0]) / (always[0] - never[0]) for never, always, ours in rounds]
    removed = [(always[1] - ours[1]) / (always[1] - never[1]) for never, always, ours in rounds]
    names = ("THP never", "THP always", "THP madvise with ethp")
    return [
        *(
            Row(
                f"2 GiB, one page in eight used, 256 MiB hot: {name}, {_ROUNDS} runs",
                f"{median(size):.0f} MiB, {median(speed):.1f} million random reads in a second of CPU time",
            )
            for name, speed, size in zip(names, speeds, sizes, strict=True)
        ),
        Row(
            "the same: of the memory that always takes more than never, ethp saves",
            f"median {median(removed):.1%}, worst {min(removed):.1%}",
            "at least 90 %",
            min(removed) >= 0.9,
        ),
        Row(
            "the same: of the speed that always gains over never, ethp keeps",
            f"median {median(kept):.1%}, worst {min(kept):.1%}",
            "at least 80 %",
            median(kept) >= 0.8,
        ),
        Row("the same: the program's memory content", "intact" if intact else "WRONG", "intact", intact),
        _mappings(),
    ]


def _mappings() -> Row:
    with thp_mode("madvise"), _Sparse(["--size", "64", "--hot", "16", "--mappings", str(_MANY)]) as program:
        before = program.nr_mappings()
        with Daemon(["--pid", program.pid, "--scheme", _ETHP, "--min-regions", "1000", "--max-regions", "3000"]) as one:
            time.sleep(_SETTLE_S)
            during, (scheme, *_) = program.nr_mappings(), one.statuses[-1]["schemes"]
    growth = during / before - 1
    return Row(
        f"ethp on a program with {before} mappings, {scheme['sz_applied'] >> 20} MiB of them advised",
        f"{during - before} more, {growth:.1%}",
        "under 10 %",
        growth < 0.1,
    )
