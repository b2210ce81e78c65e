"""Answer with what descriptors 0 to 2 are: `null` for the null device, or `other`."""

import os


def app(environ, start_response):
    null = os.stat(os.devnull)
    same = [os.path.samestat(os.fstat(number), null) for number in (0, 1, 2)]
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [" ".join("null" if one else "other" for one in same).encode() + b"\n"]
