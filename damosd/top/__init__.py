# SPDX-License-Identifier: GPL-2.0-only
"""The full-screen view of a daemon that runs: `damosd top`.

Figures and their text are made by plain functions, which `--once` prints. Widgets only place them: `app.py`, `grid.py`,
`heatmap.py` and `dialogs.py` need textual, all else does without.
"""
