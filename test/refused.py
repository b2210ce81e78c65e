"""Try command lines that the server has to refuse: all in one run of Python, each in a process that is forked for it.

    python refused.py WEBSERVER STATUS <TABLE      in each line, as a shell would read it: what is said, then the arguments

Each has to end with the status and print nothing on stdout. With status 2 it prints one line on stderr, which contains what
is said, else a traceback, which matches that. In an argument, \\n is a line feed. What does not end so is shown, and the
exit status is 1. A server that serves instead is killed.
"""

import argparse  # noqa: F401  once, instead of in each process
import importlib.util
import os
import re
import select
import shlex
import signal
import sys
import tempfile

PATIENCE_S = 20


def load(path):
    """Return the program as a module, which finds its modules where it would as a program."""
    sys.path[0] = os.path.dirname(path)
    spec = importlib.util.spec_from_file_location("webserver", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["webserver"] = module
    spec.loader.exec_module(module)
    return module


def end(main, arguments):
    """Run the program with these arguments; return its exit status, and what it has printed on stdout and on stderr."""
    reader, writer = os.pipe()
    with tempfile.TemporaryFile() as stderr:
        pid = os.fork()
        if not pid:
            os.setpgid(0, 0)
            os.dup2(writer, 1)
            os.dup2(stderr.fileno(), 2)
            os.closerange(reader, writer + 1)
            stderr.close()
            os._exit(main(arguments))
        os.close(writer)
        ready = select.select([reader], [], [], PATIENCE_S)[0]
        stdout = os.read(reader, 99) if ready else b"It has not ended."
        if stdout:
            os.killpg(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
        os.close(reader)
        stderr.seek(0)
        return status >> 8, stdout.decode(), stderr.read().decode(errors="replace")


def is_said(said, status, stderr):
    """Return whether the program says what it should."""
    if status != 2:
        return stderr.startswith("Traceback ") and re.search(said, stderr, re.MULTILINE)
    return stderr.startswith("webserver.py: ") and stderr.count("\n") == 1 and said in stderr


def main():
    program, wanted = load(os.path.abspath(sys.argv[1])), int(sys.argv[2])
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "apps"))
    lines = [line for line in sys.stdin.read().splitlines() if line]
    failed = not lines
    for line in lines:
        said, *arguments = (word.replace("\\n", "\n") for word in shlex.split(line))
        if not any(argument.startswith("--bind") for argument in arguments):
            arguments = ["--bind", "127.0.0.1:0", *arguments]
        status, stdout, stderr = end(program.main, arguments)
        if status != wanted or stdout or not is_said(said, status, stderr):
            failed = True
            print(f"{line}\n    ends with status {status}, prints {stdout!r}, and says:\n{stderr}", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
