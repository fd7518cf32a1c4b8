# SPDX-License-Identifier: GPL-2.0-only
"""The demo: damosd's main job on a real program, in about a minute, with a verdict. `python -m bench.demo`."""
