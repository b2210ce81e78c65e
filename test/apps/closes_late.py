"""Answer with an iterable whose close() waits for the latch: at /length after an announced length, else in chunks."""

from latch import wait


class Pieces:
    def __init__(self, path):
        self.path = path

    def __iter__(self):
        yield b"two\n"
        yield b"lines\n"

    def close(self):
        wait()
        print("closed", self.path)


def app(environ, start_response):
    length = [("Content-Length", "10")] if environ["PATH_INFO"] == "/length" else []
    start_response("200 OK", [("Content-Type", "text/plain"), *length])
    return Pieces(environ["PATH_INFO"])
