# SPDX-License-Identifier: GPL-2.0-only
"""`python -m damosd.inject FD`: the inject helper, on the socket with that descriptor. Ends when its peer does."""

from __future__ import annotations

import os
import signal
import socket
import sys
from contextlib import suppress

from damosd.inject.protocol import MAX_MESSAGE, Reply, Request

_HIGHEST_PRIORITY = -20


def main() -> int:
    """Serve requests until the other side has gone, or a thread had to be given up."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGCHLD,))
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        try:
            from damosd.inject import xstate  # noqa: PLC0415  # what fails here is told to the other side
            from damosd.inject.helper import Helper  # noqa: PLC0415

            xstate.default_size()
        except (ImportError, OSError) as error:
            connection.send(Reply(refused=f"the inject helper cannot start: {error}").encode())
            return 1
        with suppress(PermissionError):  # somebody is stopped while we work
            os.setpriority(os.PRIO_PROCESS, 0, _HIGHEST_PRIORITY)
        with suppress(ConnectionError):  # whoever has asked may have gone
            connection.send(Reply().encode())
            helper = Helper()
            while not helper.exhausted:
                message, descriptors, _, _ = socket.recv_fds(connection, MAX_MESSAGE, 2)
                if not message:
                    return 0
                try:
                    pidfd, directory = descriptors
                    reply = helper.serve(Request.decode(message), pidfd, directory)
                finally:
                    for descriptor in descriptors:
                        os.close(descriptor)
                connection.send(reply.encode())
    os._exit(0)  # at once: this is what lets a thread go that had to be given up


if __name__ == "__main__":
    raise SystemExit(main())
