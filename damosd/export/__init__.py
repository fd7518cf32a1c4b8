# SPDX-License-Identifier: GPL-2.0-only
"""The figures of the daemon for monitoring systems: Prometheus, over HTTP or as a text file."""
