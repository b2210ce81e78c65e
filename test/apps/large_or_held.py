"""Answer with "done": at /wait when the latch lets go, at /large after 32 MB that all responses share."""

from latch import wait

BLOCK = b"more\n" * 13107  # 64 KB


def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/wait":
        wait()
    blocks = [BLOCK] * (500 if path == "/large" else 0) + [b"done\n"]
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(sum(map(len, blocks))))])
    return blocks
