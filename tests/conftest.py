# SPDX-License-Identifier: GPL-2.0-only
"""Property tests do not judge speed: a busy machine is no reason to fail.

`pytest --hypothesis-profile=fuzz tests/property/config/test_mutated_files.py` reads 10,000 broken files.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("damosd", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fuzz", settings.get_profile("damosd"), max_examples=10_000)
settings.load_profile("damosd")
