"""Answer with one block, and then with empty ones without end; print when that is over."""

import time


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    try:
        yield b"block\n"
        while True:
            time.sleep(0.01)
            yield b""
    finally:
        print("over")
