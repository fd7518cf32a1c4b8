# SPDX-License-Identifier: GPL-2.0-only
"""Property tests do not judge speed: a busy machine is no reason to fail."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("damosd", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("damosd")
