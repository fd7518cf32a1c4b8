# SPDX-License-Identifier: GPL-2.0-only
"""`python -m damosd`."""

from damosd.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
