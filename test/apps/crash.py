"""End in the way that the path names; print the process's number first."""

import os
import signal


def die(way):
    if way == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif way == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif way == "exit":
        os._exit(3)
    elif way == "system-exit":
        raise SystemExit(3)
    elif way == "interrupt":
        raise KeyboardInterrupt
    elif way == "memory":
        raise MemoryError


def app(environ, start_response):
    print("child", os.getpid())
    die(environ["PATH_INFO"].strip("/"))
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "6")])
    return [b"alive\n"]
