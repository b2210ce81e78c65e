"""Answer with 16 MB of lines, each made in its turn from a context variable that holds the request's path."""

import contextvars

path = contextvars.ContextVar("path")


def lines():
    for _ in range(256):
        yield path.get().encode().ljust(65535) + b"\n"


def app(environ, start_response):
    path.set(environ["PATH_INFO"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return lines()
