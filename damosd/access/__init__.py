# SPDX-License-Identifier: GPL-2.0-only
"""Access checks: the primitives below an operations set.

Each says what it sees, what it disturbs and why it cannot run here.
"""
