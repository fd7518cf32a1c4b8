# SPDX-License-Identifier: GPL-2.0-only
"""One scheme's application as the kernel goes about it: region after region, one number at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace

PAGE = 4096


@dataclass
class Region:
    """One region as a scheme sees it; `score` is what it is worth, `fits` whether the pattern and filters let it."""

    target: int
    start: int
    end: int
    score: int
    fits: bool

    @property
    def size(self) -> int:
        """Bytes."""
        return self.end - self.start


@dataclass
class Account:
    """What is left of a quota, and where the last window ended."""

    effective: int
    charged: int = 0
    resume: tuple[int, int] | None = None

    @property
    def full(self) -> bool:
        """No page fits any more."""
        return self.effective - self.charged < PAGE


def lowest_score(regions: list[Region], quota: int) -> int:
    """Return the score from which on regions are enough."""
    total = 0
    for score in range(99, 0, -1):
        total += sum(region.size for region in regions if region.fits and region.score == score)
        if total >= quota:
            return score
    return 0


def behind(region: Region, target: int, address: int) -> Region | None:
    """Return what of a region lies behind the place where the last window ended; at least a page is before it."""
    if (region.target, region.end) <= (target, address):
        return None
    if region.target != target or region.start >= address:
        return region
    skipped = max((address - region.start) // PAGE * PAGE, PAGE)
    return replace(region, start=region.start + skipped) if skipped < region.size else None


def apply(regions: list[Region], account: Account) -> list[tuple[int, int, int]]:
    """Return (target, start, end) of what is acted on, and keep the account."""
    least = lowest_score(regions, account.effective)
    resume, done = account.resume, []
    if resume and resume[0] not in {region.target for region in regions}:
        resume = None
    waiting = list(regions)
    began_full = account.full
    while waiting:
        region = waiting.pop(0)
        if account.full:
            break
        if resume:
            rest = behind(region, *resume)
            if rest is None:
                continue
            region, resume = rest, None
        if not region.fits or region.score < least:
            continue
        room = account.effective - account.charged
        if region.size > room:
            size = room // PAGE * PAGE
            waiting.insert(0, replace(region, start=region.start + size))
            region = replace(region, end=region.start + size)
        account.charged += region.size
        done.append((region.target, region.start, region.end))
        if account.full:
            account.resume = region.target, region.end
    if not account.full:
        account.resume = None
    assert not (began_full and done)
    return done
