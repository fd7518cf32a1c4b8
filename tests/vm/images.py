# SPDX-License-Identifier: GPL-2.0-only
"""Make what a guest boots from: a kernel with its initramfs, a Debian root with our dependencies, the project.

Kernel and root are cached under names that hash everything they depend on, and appear there only when whole: an
interrupted build leaves nothing behind, a changed input makes a new entry. The host's package configuration is
neither used nor changed: each Debian suite has an apt root of its own in the cache.
"""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import hashlib
import lzma
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.requirements import Requirement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

PROJECT = Path(__file__).resolve().parents[2]
MIRROR = "http://deb.debian.org/debian"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
ROOT_SUITE = "bookworm"
ROOT_PACKAGES = ("kmod", "libbpf1", "libstdc++6", "mount", "procps", "python3", "util-linux")
# What no test reads; half of a small Debian.
ROOT_EXCLUDES = ("/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/man/*")
# The disks, and what makes zram swap. Crypto names are asked for by 6.1, newer zram brings its own.
MODULES = ("virtio_pci", "virtio_blk", "zram", "lz4", "lz4hc", "lzo-rle", "zstd")
NOT_THE_PROJECT = (".*", "__pycache__", "build", "dist")


@dataclass(frozen=True, slots=True)
class Kernel:
    """A Debian kernel: the start of its release, the suite that carries it, and what it is booted for."""

    series: str
    suite: str
    purpose: str


KERNELS = {
    kernel.series: kernel
    for kernel in (
        Kernel("6.1", "bookworm", "Debian 12: no DAMON, no bpf_task_from_pid, MGLRU off"),
        Kernel("6.12", "trixie", "Debian 13: the kernel's own DAMON, MGLRU on"),
    )
}


def kernel_files(kernel: Kernel) -> Path:
    """Return a directory with `vmlinuz`, `initramfs` and a file `release` for a kernel; fetch it if need be."""
    return _cached(_kernel_entry(kernel), lambda new: _build_kernel(kernel, new))


def kernel_release(kernel: Kernel) -> str | None:
    """Return the full release of a kernel as it was fetched, None if it was not."""
    release = _kernel_entry(kernel) / "release"
    return release.read_text().strip() if release.exists() else None


def root_image() -> Path:
    """Return the guests' root disk: a small Debian with the project's and its tests' dependencies."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    requirements = [*project["dependencies"], *_required_by(project, "test")]
    entry = _entry("root", ROOT_SUITE, *ROOT_PACKAGES, *ROOT_EXCLUDES, *requirements)
    return _cached(entry, lambda new: _build_root(requirements, new)) / "root.ext4"


def _required_by(project: dict[str, Any], extra: str) -> Iterator[str]:
    """Yield what an extra of the project requires, with what the extras require that it names."""
    for text in project["optional-dependencies"][extra]:
        requirement = Requirement(text)
        if requirement.name == project["name"]:
            for other in sorted(requirement.extras):
                yield from _required_by(project, other)
        else:
            yield text


def project_image(command: Sequence[str], directory: Path) -> Path:
    """Pack the working tree, as it is, and the command to run into a disk, in a directory of the caller's.

    Raise FileNotFoundError if a BPF object is missing or older than its source: a guest would test yesterday's.
    """
    for source in (PROJECT / "damosd/bpf").glob("*.bpf.c"):
        compiled = source.with_suffix(".o")
        if not compiled.exists() or compiled.stat().st_mtime < source.stat().st_mtime:
            raise FileNotFoundError(f"{compiled} is missing or out of date: compile it first")
    tree = directory / "disk"
    shutil.copytree(PROJECT, tree / "project", ignore=shutil.ignore_patterns(*NOT_THE_PROJECT))
    shutil.copy(Path(__file__).parent / "guest.sh", tree)
    (tree / "command").write_text(shlex.join(command) + "\n")
    return _make_disk(tree, directory / "project.ext4", "512M")


def cache_directory() -> Path:
    """Return where images are kept: $DAMOSD_VM_CACHE, or damosd-vm in the user's cache directory."""
    path = Path(os.environ.get("DAMOSD_VM_CACHE") or Path.home() / ".cache/damosd-vm")
    path.mkdir(parents=True, exist_ok=True)
    return path


def _kernel_entry(kernel: Kernel) -> Path:
    init = (Path(__file__).parent / "initramfs.sh").read_text()
    return _entry(f"kernel-{kernel.series}", kernel.suite, init, *MODULES)


def _entry(name: str, *inputs: str) -> Path:
    """Return the place in the cache for what is made of these inputs."""
    digest = hashlib.sha256("\0".join(inputs).encode()).hexdigest()[:8]
    return cache_directory() / f"{name}-{digest}"


def _cached(entry: Path, build: Callable[[Path], None]) -> Path:
    """Return a cache entry after `build` filled it where there was none."""
    with _locked(entry.parent / "lock"):
        if not entry.exists():
            sys.stderr.write(f"vm: building {entry}\n")
            with tempfile.TemporaryDirectory(dir=entry.parent, prefix="partial-") as work:
                new = Path(work, "entry")
                new.mkdir()
                build(new)
                new.rename(entry)
    return entry


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process at a time build: two would fetch everything twice."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build_kernel(kernel: Kernel, new: Path) -> None:
    apt = _Apt(kernel.suite)
    with tempfile.TemporaryDirectory(dir=new.parent) as work:
        package = Path(work, "kernel")
        apt.unpack(apt.dependency("linux-image-cloud-amd64"), package)
        modules = next(package.glob("**/lib/modules/*"))
        release = modules.name
        if not release.startswith(f"{kernel.series}."):
            raise LookupError(f"{kernel.suite} carries {release}, not {kernel.series}")
        initramfs = Path(work, "initramfs")
        for mount_point in ("dev", "proc", "root", "sys"):
            (initramfs / mount_point).mkdir(parents=True)
        apt.unpack("busybox-static", Path(work, "busybox"))
        shutil.copy(next(Path(work, "busybox").glob("**/bin/busybox")), initramfs)
        shutil.copy(Path(__file__).parent / "initramfs.sh", initramfs / "init")
        (initramfs / "init").chmod(0o755)
        shutil.copy(package / f"boot/config-{release}", initramfs)
        _copy_modules(modules, initramfs / "lib/modules" / release)
        names = "\n".join(str(path.relative_to(initramfs)) for path in initramfs.rglob("*"))
        archive = _call("cpio", "--create", "--format=newc", "--quiet", cwd=initramfs, stdin=names.encode())
        (new / "initramfs").write_bytes(gzip.compress(archive, compresslevel=6))
        shutil.copy(package / f"boot/vmlinuz-{release}", new / "vmlinuz")
        (new / "release").write_text(release + "\n")


def _copy_modules(modules: Path, to: Path) -> None:
    """Copy the wanted modules, with those they need, plain: busybox loads no compressed ones."""
    base, release = modules.parents[2], modules.name
    _call("depmod", "-b", base, release)
    to.mkdir(parents=True)
    for name in ("modules.builtin", "modules.builtin.modinfo", "modules.order"):
        shutil.copy(modules / name, to)
    # -C: the host's blacklists and aliases are not the guest's.
    wanted = _call("modprobe", "-C", "/dev/null", "-d", base, "-S", release, "--show-depends", "--all", *MODULES)
    for line in wanted.decode().splitlines():
        if line.startswith("insmod "):
            source = Path(line.split()[1])
            target = to / source.relative_to(modules)
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.suffix == ".xz":
                target.with_suffix("").write_bytes(lzma.decompress(source.read_bytes()))
            else:
                shutil.copy(source, target)
    _call("depmod", "-b", to.parents[2], release)


def _build_root(requirements: Sequence[str], new: Path) -> None:
    with tempfile.TemporaryDirectory(dir=new.parent) as work:
        root = Path(work, "root")
        excludes = [f"--dpkgopt=path-exclude={pattern}" for pattern in ROOT_EXCLUDES]
        include = f"--include={','.join(ROOT_PACKAGES)}"
        _call("mmdebstrap", "--quiet", "--variant=essential", include, *excludes, ROOT_SUITE, root, MIRROR)
        (root / "guest").mkdir()
        (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
        packages = next((root / "usr/local/lib").glob("python3.*/dist-packages"))
        version = packages.parent.name.removeprefix("python")
        # Wheels for the guest's Python, whichever runs here.
        platforms = [f"--platform={name}_x86_64" for name in ("manylinux_2_28", "manylinux2014")]
        for_guest = [f"--python-version={version}", "--only-binary=:all:", *platforms, "--no-compile"]
        _call(sys.executable, "-m", "pip", "install", "--quiet", f"--target={packages}", *for_guest, *requirements)
        # By the guest's own Python, or every boot compiles numpy again.
        _call("chroot", root, "python3", "-m", "compileall", "-q", "-j0", f"/{packages.relative_to(root)}")
        _make_disk(root, new / "root.ext4", "1G")


def _make_disk(tree: Path, image: Path, size: str) -> Path:
    _call("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-E", "root_owner=0:0", "-d", tree, image, size)
    return image


class _Apt:
    """Packages of one Debian suite, through apt with a root of its own."""

    def __init__(self, suite: str) -> None:
        root = cache_directory() / f"apt-{suite}"
        for name in ("etc/apt/apt.conf.d", "etc/apt/preferences.d", "var/cache/apt/archives/partial"):
            (root / name).mkdir(parents=True, exist_ok=True)
        (root / "var/lib/apt/lists/partial").mkdir(parents=True, exist_ok=True)
        (root / "etc/apt/sources.list").write_text(f"deb [signed-by={KEYRING}] {MIRROR} {suite} main\n")
        status = root / "status"
        status.touch()
        settings = (f"Dir={root}", f"Dir::State::status={status}", "APT::Architecture=amd64", "APT::Sandbox::User=root")
        self._options = [f"-o{setting}" for setting in settings]
        _call("apt-get", *self._options, "-qq", "update")

    def dependency(self, package: str) -> str:
        """Return the one package that a metapackage stands for."""
        answer = _call("apt-cache", *self._options, "--important", "depends", package)
        return answer.decode().split("Depends:")[1].split()[0]

    def unpack(self, package: str, directory: Path) -> None:
        """Download a package and unpack it, without its scripts."""
        directory.mkdir()
        _call("apt-get", *self._options, "-qq", "download", package, cwd=directory)
        for archive in directory.glob("*.deb"):
            _call("dpkg-deb", "--extract", archive, directory)


def _call(*argv: str | Path, cwd: Path | None = None, stdin: bytes = b"") -> bytes:
    """Run a program and return its output; raise CalledProcessError if it fails."""
    return subprocess.run(argv, cwd=cwd, input=stdin, stdout=subprocess.PIPE, check=True).stdout
