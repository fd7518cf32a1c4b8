# SPDX-License-Identifier: GPL-2.0-only
"""Settings of all property tests."""

from hypothesis import settings

# A slow run on a busy machine is not a wrong one; pytest-timeout catches what hangs.
settings.register_profile("damosd", deadline=None)
settings.load_profile("damosd")
