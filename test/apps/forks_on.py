"""Fork a process that lives until the latch lets go, and answer without a length."""

import os

PATH = os.environ["LATCH"]


def app(environ, start_response):
    if not os.fork():
        open(PATH).readline()
        os._exit(0)
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"" if environ["SERVER_PROTOCOL"] == "HTTP/1.0" else b"done\n"
    yield b"forked" if environ["SERVER_PROTOCOL"] == "HTTP/1.0" else b""
