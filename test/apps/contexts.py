"""Answer with what a context variable held when the request began; close() prints what it holds then."""

import contextvars

user = contextvars.ContextVar("user", default="nobody")


class Pieces:
    def __init__(self, before):
        self.pieces = iter([before, None])

    def __iter__(self):
        return self

    def __next__(self):
        before = next(self.pieces)
        return f"{before or 'then ' + user.get()}\n".encode()

    def close(self):
        print("close sees", user.get())


def app(environ, start_response):
    before = user.get()
    user.set(environ["PATH_INFO"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return Pieces(before)
