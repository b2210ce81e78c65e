"""Print: /line with a newline, /partial without one, /wait a line and then wait for the latch."""

import sys

from latch import wait


def app(environ, start_response):
    if environ["PATH_INFO"] == "/partial":
        sys.stdout.write("printed without a newline")
    else:
        print("printed a line")
    if environ["PATH_INFO"] == "/wait":
        wait()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "3")])
    return [b"ok\n"]
