"""Take two seconds over each request."""

import time


def app(environ, start_response):
    time.sleep(2)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"slow\n"]
