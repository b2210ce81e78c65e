"""Answer with four blocks that take 0.3 s each, and say at the end whether each was asked for at once."""

import time


def blocks():
    waited = 0
    for _ in range(4):
        time.sleep(0.3)
        before = time.monotonic()
        yield b"more\n"
        waited += time.monotonic() - before
    yield b"at once\n" if waited < 0.6 else b"after %d ms\n" % (waited * 1000)


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return blocks()
