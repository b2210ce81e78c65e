"""Run a program that has a terminal for its stderr; what it writes there goes on to this one's stderr.

    python on_terminal.py PROGRAM ARGUMENT...
"""

import os
import pty
import sys


def copy(terminal: int) -> None:
    """Copy until no process has the other side open any more: an end of file, or on Linux an error."""
    try:
        for data in iter(lambda: os.read(terminal, 65536), b""):
            os.write(2, data)
    except OSError:
        pass


def main() -> None:
    terminal, stderr = pty.openpty()
    if not os.fork():
        if not os.fork():  # a child's child, which the program never reaps
            os.close(stderr)
            copy(terminal)
        os._exit(0)
    os.wait()
    os.dup2(stderr, 2)
    os.close(stderr)
    os.close(terminal)
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
