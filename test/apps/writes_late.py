"""Write "late" with the write callable of the request before, which raises, then answer, in chunks but for /list."""

import contextlib

writes = []


def app(environ, start_response):
    for write in writes:
        with contextlib.suppress(AssertionError):
            write(b"late\n")
    writes.append(start_response("200 OK", [("Content-Type", "text/plain")]))
    return [b"in time\n"] if environ["PATH_INFO"] == "/list" else iter([b"in ", b"time\n"])
