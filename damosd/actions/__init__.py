# SPDX-License-Identifier: GPL-2.0-only
"""What a plan does to a process, and the proof of what it did. Every action can plan without applying."""
