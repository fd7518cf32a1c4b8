# SPDX-License-Identifier: GPL-2.0-only
"""DAMON and DAMOS for any Linux process, from user space."""

__version__ = "0.1.0"
