"""Sleep for 0.3 s, and answer with how long that took."""

import time


def app(environ, start_response):
    begun = time.monotonic()
    time.sleep(0.3)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%.2f\n" % (time.monotonic() - begun)]
