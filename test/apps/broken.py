"""Raise: at / when called, at /first before the first piece, at /later after it."""


def pieces(first):
    if first:
        raise ValueError("broken on purpose")
    yield b"one\n"
    raise ValueError("broken on purpose")


def app(environ, start_response):
    if environ["PATH_INFO"] == "/":
        raise ValueError("broken on purpose")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return pieces(environ["PATH_INFO"] == "/first")
