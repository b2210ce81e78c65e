"""Replace stderr, by None or an object that can only write, and answer more than the Content-Length says. /ends: end the
process. STDERR in the environment: do so at the import."""

import os
import sys


class Plain:
    def write(self, text):
        return len(text)


def take(name):
    sys.stderr = {"none": None, "plain": Plain()}.get(name, sys.stderr)


def app(environ, start_response):
    if environ["PATH_INFO"] == "/ends":
        os._exit(7)
    take(environ["PATH_INFO"][1:])
    start_response("200 OK", [("Content-Length", "1")])
    return [b"overmuch"]


take(os.environ.get("STDERR"))
