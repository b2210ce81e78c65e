"""Answer with "one thread" when the call, every block and close() of a request run in one thread, which meanwhile runs
no other request; close() prints which it was. At /wait the first block is held by the latch."""

import threading

from latch import wait

mine = threading.local()


class Pieces:
    def __init__(self, environ):
        self.environ = environ
        self.blocks = 3

    def __iter__(self):
        return self

    def __next__(self):
        self.blocks -= 1
        if self.blocks < 0:
            raise StopIteration
        if self.blocks == 2 and self.environ["PATH_INFO"] == "/wait":
            wait()
        return b"one thread\n" if getattr(mine, "environ", None) is self.environ else b"another thread\n"

    def close(self):
        print("closed in", "one thread" if getattr(mine, "environ", None) is self.environ else "another thread")
        mine.environ = None


def app(environ, start_response):
    assert not getattr(mine, "environ", None), "this thread has another request"
    mine.environ = environ
    start_response("200 OK", [("Content-Type", "text/plain")])
    return Pieces(environ)
