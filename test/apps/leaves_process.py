"""Leave a process running, at /fork, that ends when the latch lets go; answer with "done" until the connection closes."""

import os

from latch import wait


def app(environ, start_response):
    if environ["PATH_INFO"] == "/fork" and not os.fork():
        wait()
        os._exit(0)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Connection", "close")])
    return [b"done\n"]
