# SPDX-License-Identifier: GPL-2.0-only
"""Other kernels: Debian's own, booted under QEMU to run one command of ours.

`images` makes what a guest boots from, `guest` boots it, the two shell scripts are its first process before and
after the root changes. Nothing here knows damosd: any command can be run.
"""
