"""Read the body in the way that the path names, then at its end in every way; answer with all that came.

/kind answers instead whether the body is in a file that has a descriptor, or in memory.
"""

import io


def kind(body):
    try:
        return f"descriptor {'yes' if body.fileno() > 2 else 'no'}"
    except io.UnsupportedOperation:
        return "memory"


WAYS = {
    "/kind": kind,
    "/read": lambda body: [body.read()],
    "/sized": lambda body: [body.read(2), body.read(100)],
    "/readline": lambda body: [body.readline(), body.readline(2), body.readline()],
    "/readlines": lambda body: body.readlines(),
    "/lines": list,
    "/nothing": lambda body: [],
}


def app(environ, start_response):
    body = environ["wsgi.input"]
    came = WAYS[environ["PATH_INFO"]](body)
    if environ["PATH_INFO"] != "/nothing":
        body.read()
    end = body.read(), body.read(1), body.readline(), body.readlines(), list(body), body.read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{came} {end}\n".encode()]
