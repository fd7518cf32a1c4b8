# SPDX-License-Identifier: GPL-2.0-only
"""What measurements, demo and tests work with: swap, programs under load, damosd itself. All clean up behind them."""
