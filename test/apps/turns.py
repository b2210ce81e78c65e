"""Answer one request after the other with 200 and "one", 200 and "three", 201 and "seven", and two blocks."""

from itertools import cycle

TURNS = cycle([("200 OK", [b"one\n"]), ("200 OK", [b"three\n"]), ("201 Created", [b"seven\n"]), ("200 OK", [b"t", b"wo\n"])])


def app(environ, start_response):
    status, blocks = next(TURNS)
    start_response(status, [("Content-Type", "text/plain")])
    return blocks
