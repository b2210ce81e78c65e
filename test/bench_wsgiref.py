"""The standard library's server with a process for each connection: what make bench holds fork mode against.

    python bench_wsgiref.py APP HOST PORT     serves an application of bench_apps.py
"""

from __future__ import annotations

import socketserver
import sys
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import bench_apps


class ForkingServer(socketserver.ForkingMixIn, WSGIServer):
    """wsgiref's server, with its two limits set as ours are."""

    request_queue_size = 2048
    max_children = 256


class Handler(WSGIRequestHandler):
    """wsgiref's handler, which logs nothing."""

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


if __name__ == "__main__":
    server = ForkingServer((sys.argv[2], int(sys.argv[3])), Handler)
    server.set_app(getattr(bench_apps, sys.argv[1]))
    server.serve_forever()
