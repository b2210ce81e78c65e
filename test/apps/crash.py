"""End in the way that the path names; print the process's number first."""

import os
import signal
import threading


def die(way):
    if way == "segfault":
        signal.pthread_kill(threading.get_ident(), signal.SIGSEGV)  # else another thread may die of it, a moment later
    elif way == "kill":
        signal.pthread_kill(threading.get_ident(), signal.SIGKILL)
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
