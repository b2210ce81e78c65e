"""Read the body by blocks; answer with its size, and with the most memory that the process had, both in MB."""

import resource
import sys


def app(environ, start_response):
    size = sum(map(len, iter(lambda: environ["wsgi.input"].read(65536), b"")))
    unit = 1 if sys.platform == "darwin" else 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    body = b"%d %d\n" % (size // 1000000, most // 1000000)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
