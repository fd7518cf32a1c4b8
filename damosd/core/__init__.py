# SPDX-License-Identifier: GPL-2.0-only
"""DAMON itself: regions, attributes, the monitor's step machine.

Pure: time, randomness and access checks come in from outside.
"""
