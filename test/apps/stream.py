"""Answer in three pieces of unknown length; at /wait the second one waits for the latch."""

from latch import wait


class Pieces:
    def __init__(self, hold):
        self.hold = hold

    def __iter__(self):
        yield b"one\n"
        if self.hold:
            wait()
        yield b"two\n"
        yield b"three\n"

    def close(self):
        print("closed")


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return Pieces(environ["PATH_INFO"] == "/wait")
