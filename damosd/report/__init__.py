# SPDX-License-Identifier: GPL-2.0-only
"""What damosd tells people and machines about a run. Formats only; the figures come in."""
