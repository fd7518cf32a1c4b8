# SPDX-License-Identifier: GPL-2.0-only
"""Which processes are targets: selectors, judged by descriptions of processes. Pure: nothing here reads /proc."""
