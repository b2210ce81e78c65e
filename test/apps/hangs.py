"""Answer with "done", at once, at /hang never, at /deaf never and stopped by no exception, and at /stream never after a
first block."""

import time


def hang():
    while True:
        time.sleep(0.05)


def deaf():
    while True:
        try:
            hang()
        except BaseException:
            print("deaf")


def stream():
    yield b"first\n"
    hang()


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    path = environ["PATH_INFO"]
    if path == "/stream":
        return stream()
    if path in ("/hang", "/deaf"):
        globals()[path[1:]]()
    return [b"done\n"]
