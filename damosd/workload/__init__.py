# SPDX-License-Identifier: GPL-2.0-only
"""Access patterns with known truth, to measure monitors against. Stands alone."""
