"""Answer with the number of the process that serves, and at /large with 32 MB."""

import pid


def app(environ, start_response):
    if environ["PATH_INFO"] != "/large":
        return pid.app(environ, start_response)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"more\n" * 6400000]
