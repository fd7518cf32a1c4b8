# SPDX-License-Identifier: GPL-2.0-only
"""Running system calls inside another process: the helper that does it, and the client that the daemon talks to it by.

The helper (`python -m damosd.inject`) is a process of its own, since ptrace is bound to a thread and a crash there must
not take the daemon. Only the helper's side imports python-ptrace (`tracee.py`); only `client.py` and `protocol.py` may
be imported from outside.
"""
