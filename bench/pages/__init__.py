# SPDX-License-Identifier: GPL-2.0-only
"""Measurements of the page monitor: what it costs us and its target, what it tells, and how it compares."""
