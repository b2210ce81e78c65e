"""Answer with the number of descriptors that the serving process has open."""

import os


def app(environ, start_response):
    folder = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"
    body = f"{len(os.listdir(folder)) - 1}\n".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
