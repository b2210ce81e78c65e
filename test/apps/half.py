"""Answer with a first line, without a length, and end in the way that the path names: /whole with a last line; /hang
never, in one call; /endless never, in many."""

import time

from crash import die


def app(environ, start_response):
    path = environ["PATH_INFO"]
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"first\n"
    while path == "/endless":
        time.sleep(0.05)
        yield b"more\n"
    time.sleep(60 if path == "/hang" else 0.1)
    die(path.strip("/"))
    yield b"last\n"
