# SPDX-License-Identifier: GPL-2.0-only
"""How a kernel interface answers "can I be used here, and if not, why"."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Feature:
    """The outcome of trying one kernel interface on this machine.

    `name` is what `damosd doctor` prints, `works` the verdict of the trial, `detail` what was seen or the reason
    why not, `hint` what a person can do about it (empty when nothing is to be done).
    """

    name: str
    works: bool
    detail: str
    hint: str = ""
