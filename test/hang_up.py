"""Run a program on a terminal of its own, print its pid and the first line that it writes there, and hang up.

    python hang_up.py PROGRAM ARGUMENT...

Its exit status is the program's.
"""

import os
import pty
import sys


def main():
    pid, terminal = pty.fork()
    if not pid:
        os.execvp(sys.argv[1], sys.argv[1:])
    with open(terminal, "rb") as lines:
        print(pid, lines.readline().decode().strip(), flush=True)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whoever waits for what follows waits no more
    return os.WEXITSTATUS(os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    sys.exit(main())
