# SPDX-License-Identifier: GPL-2.0-only
"""Finding the processes that are targets, holding them, and noticing when they are none any more. No memory is read."""
