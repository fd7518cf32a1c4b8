# SPDX-License-Identifier: GPL-2.0-only
"""`python -m damosd.inject FD`: the inject helper, on the socket with that descriptor. Ends when its peer does."""

from __future__ import annotations

import os
import signal
import socket
import sys

from damosd.inject.protocol import MAX_MESSAGE, Reply, Request


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
        connection.send(Reply().encode())
        helper = Helper()
        while not helper.exhausted:
            message, descriptors, _, _ = socket.recv_fds(connection, MAX_MESSAGE, 2)
            if not message:
                break
            try:
                pidfd, directory = descriptors
                reply = helper.serve(Request.decode(message), pidfd, directory)
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)
            connection.send(reply.encode())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
