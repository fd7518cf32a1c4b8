# SPDX-License-Identifier: GPL-2.0-only
"""The full-screen view of a daemon that runs: `damosd top`."""
