# SPDX-License-Identifier: GPL-2.0-only
"""One thin module per kernel interface: what it offers, and whether and why not it can be used here. No policy."""
