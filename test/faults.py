"""Run a server whose accept or fork fails at first.

    python faults.py CALL:ERRNO:TIMES[:AFTER] [python] webserver.py ARGUMENTS...

CALL is accept or fork; TIMES calls, the first ones or those after the first AFTER, raise the
OSError of that name, as the system would, and each failure leaves a line `injected CALL
ERRNO` on stderr, so that a test can tell a failure survived from one that never came. An
interpreter named before the script is skipped: the one that runs this file runs the server,
in the same process. A failed accept takes no connection out of the backlog. Limits such as
`ulimit -n` reach only some of these errors.
"""

import errno
import os
import runpy
import socket
import sys
from typing import Any, Callable


def failing(call: str, error: str, times: int, after: int, function: Callable[..., Any]) -> Callable[..., Any]:
    left, good = [times], [after]

    def fail_first(*arguments: Any) -> Any:
        if good[0] or not left[0]:
            good[0] -= bool(good[0])
            return function(*arguments)
        left[0] -= 1
        os.write(2, f"injected {call} {error}\n".encode())
        number = getattr(errno, error)
        raise OSError(number, os.strerror(number))

    return fail_first


def main() -> None:
    call, error, times, *after = sys.argv[1].split(":")
    owner: Any = {"accept": socket.socket, "fork": os}[call]
    setattr(owner, call, failing(call, error, int(times), int(*after), getattr(owner, call)))
    start = next(index for index, word in enumerate(sys.argv) if index and word.endswith(".py"))
    sys.argv[:] = sys.argv[start:]
    # What the interpreter puts first for a script: its folder, instead of that of this launcher.
    sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
