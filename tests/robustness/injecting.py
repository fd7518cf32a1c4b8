# SPDX-License-Identifier: GPL-2.0-only
"""A daemon in little, made to be killed: owns an injector and injects without end. Arguments: PID SEED AREAS.

Prints the helper's pid and how long an injection takes, in seconds.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import time

from damosd.inject.client import Injector
from damosd.linux.pidfd import Pidfd
from robustness.soak import batches

_FIRST = 5


def main() -> None:
    """Inject until killed."""
    pid, seed, areas = int(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
    drawn = batches([(start, end) for start, end in areas], random.Random(seed))
    injector = Injector()
    took_s: list[float] = []
    with Pidfd(pid) as target:
        while True:
            before = time.monotonic()
            reply = injector.run(target, next(drawn))
            if not reply.refused and len(took_s) < _FIRST:
                took_s.append(time.monotonic() - before)
                if len(took_s) == _FIRST:
                    print(injector.helper_pid, statistics.median(took_s), flush=True)


if __name__ == "__main__":
    main()
