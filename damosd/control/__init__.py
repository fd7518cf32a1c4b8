# SPDX-License-Identifier: GPL-2.0-only
"""The control socket: what may be asked of a daemon that runs, who may, and how it is said."""
