"""Answer with a line, again and again, and never come to an end."""

import time


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    while True:
        yield b"more\n"
        time.sleep(0.05)
