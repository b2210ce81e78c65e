"""Call start_response in the way that the path names."""

import sys

PLAIN = [("Content-Type", "text/plain")]


def failure():
    """Return the exc_info of an exception."""
    try:
        raise ValueError("broken on purpose")
    except ValueError:
        return sys.exc_info()


def twice(start_response):
    start_response("200 OK", PLAIN)
    start_response("201 Created", PLAIN)
    return [b"body\n"]


def never(start_response):
    return [b"body\n"]


def never_and_nothing(start_response):
    return []


def in_first_iteration(start_response):
    start_response("201 Created", PLAIN)
    yield b"body\n"


def after_empty_block(start_response):
    yield b""
    start_response("201 Created", PLAIN)
    yield b"body\n"


def too_late(start_response):
    yield b"body\n"
    start_response("200 OK", PLAIN)


def replaced(start_response):
    start_response("200 OK", [*PLAIN, ("X-First", "yes")])
    start_response("503 Service Unavailable", [*PLAIN, ("X-Second", "yes")], failure())
    return [b"sorry\n"]


def replaced_after_empty_block(start_response):
    start_response("200 OK", [*PLAIN, ("X-First", "yes")])
    yield b""
    start_response("503 Service Unavailable", [*PLAIN, ("X-Second", "yes")], failure())
    yield b"sorry\n"


def replaced_too_late(start_response):
    start_response("200 OK", PLAIN)
    yield b"body\n"
    start_response("503 Service Unavailable", PLAIN, failure())
    yield b"sorry\n"


def nothing(start_response):
    start_response("200 OK", PLAIN)
    return iter(())


def app(environ, start_response):
    return globals()[environ["PATH_INFO"].strip("/")](start_response)
