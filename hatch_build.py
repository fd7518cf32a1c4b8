# SPDX-License-Identifier: GPL-2.0-only
"""Compile the BPF programs while the package is built."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class BpfBuildHook(BuildHookInterface):  # type: ignore[type-arg]  # its configuration type is not public
    """Turn every `damosd/bpf/*.bpf.c` into the CO-RE object beside it.

    The objects are data for any kernel with BTF, so one wheel fits every Python and every machine of an
    architecture. Without clang the package builds without them, and `damosd doctor` says what is missing.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002  # hatchling's signature
        """Compile; a source that does not compile fails the build."""
        clang = shutil.which("clang")
        if clang is None:
            self.app.display_warning("clang is not installed: building without the BPF access check")
            return
        # Debian keeps <asm/types.h> in the directory of the architecture, which clang does not search for bpf.
        headers = f"/usr/include/{platform.machine()}-linux-gnu"
        for source in sorted(Path(self.root, "damosd/bpf").glob("*.bpf.c")):
            command = [clang, "-O2", "-g", "-Wall", "-Werror", f"-I{headers}", "-target", "bpf"]
            command += [f"-ffile-prefix-map={self.root}=."]  # the same object wherever it is built
            subprocess.run([*command, "-c", str(source), "-o", str(source.with_suffix(".o"))], check=True)
