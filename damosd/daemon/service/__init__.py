# SPDX-License-Identifier: GPL-2.0-only
"""What `damosd daemon` does: the targets of a configuration, each in a session, in one loop."""
