"""Answer with an iterable that prints when it is closed; the path says what else happens."""

import itertools


class Blocks:
    """An iterable that is not its own iterator."""

    def __init__(self, path):
        self.path = path

    def __iter__(self):
        if self.path == "/fails-first":
            raise ValueError("broken on purpose")
        yield b"one\n"
        if self.path == "/fails-later":
            raise ValueError("broken on purpose")
        if self.path == "/text":
            yield "two\n"
        if self.path == "/endless":
            yield from itertools.repeat(b"more\n" * 1000)
        yield b"two\n"

    def close(self):
        print("closed", self.path)
        if self.path == "/fails-to-close":
            raise ValueError("broken on purpose")


def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/empty":
        start_response("204 No Content", [])
    elif path != "/never-started":
        start_response("200 OK", [("Content-Type", "text/plain")])
    return Blocks(path)
