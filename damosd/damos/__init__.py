# SPDX-License-Identifier: GPL-2.0-only
"""Schemes and the engine that plans what they do. Pure: a plan is a value; actions carry it out."""
