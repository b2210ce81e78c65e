"""Take a second over each request; the process may start two threads and no more, as where the system refuses them."""

import threading
import time

start, started = threading.Thread.start, []


def start_few(thread):
    if len(started) == 2:
        raise RuntimeError("can't start new thread")
    started.append(thread)
    start(thread)


threading.Thread.start = start_few


def app(environ, start_response):
    time.sleep(1)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"slow\n"]
