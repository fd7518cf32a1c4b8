# SPDX-License-Identifier: GPL-2.0-only
"""Measurements and the demo: what people can repeat, each by one command. Nothing in damosd imports from here."""
