# SPDX-License-Identifier: GPL-2.0-only
"""The loop that drives monitors and schemes on live processes. Signals only set flags here."""
