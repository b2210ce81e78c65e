"""The applications that make bench has every server serve, and what the right answer is.

    python bench_apps.py APP HOST PORT PROCESSES     serves one of them by bjoern, which has no command line
"""

from __future__ import annotations

import functools
import os
import sys
from typing import Any, Callable, Dict, Iterable, Iterator, List

BODY_BYTES = 1 << 20
BLOCK = bytes(range(256)) * 64  # 16 kB
FILE_BYTES = 100_000_000

Environ = Dict[str, Any]
StartResponse = Callable[..., Any]


def hello(environ: Environ, start_response: StartResponse) -> List[bytes]:
    """Answer with one line."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "14")])
    return [b"Hello, World!\n"]


def file(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with the file that FILE names, through wsgi.file_wrapper."""
    fields = [("Content-Type", "application/octet-stream"), ("Content-Length", str(FILE_BYTES))]
    start_response("200 OK", fields)
    wrapper: Any = environ["wsgi.file_wrapper"]
    blocks: Iterable[bytes] = wrapper(open(os.environ["FILE"], "rb"), 65536)
    return blocks


def body(environ: Environ, start_response: StartResponse) -> List[bytes]:
    """Read the body and answer with the number of its bytes."""
    count = b"%d\n" % len(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(count)))])
    return [count]


def stream(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    """Answer with blocks, and without saying how many."""
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    for _ in range(BODY_BYTES // len(BLOCK)):
        yield BLOCK


@functools.lru_cache(maxsize=None)
def flask_app() -> Callable[[Environ, StartResponse], Iterable[bytes]]:
    """Return a Flask application that answers with JSON; the other rows need no Flask."""
    from flask import Flask, jsonify

    app = Flask(__name__)
    app.add_url_rule("/", view_func=lambda: jsonify(message="Hello, World!"), endpoint="hello")
    found: Callable[[Environ, StartResponse], Iterable[bytes]] = app.wsgi_app
    return found


def flask(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with Flask's JSON."""
    return flask_app()(environ, start_response)


if os.environ.get("BENCH_APP") == "flask":
    flask_app()  # before a server forks, for its children share it


def is_right(app: str, answer: bytes) -> bool:
    """Return whether `answer` is the body that the application sends."""
    if app == "flask":
        return answer == b'{"message":"Hello, World!"}\n'
    if app == "file":
        with open(os.environ["FILE"], "rb") as opened:
            return answer == opened.read()
    rights = {"hello": b"Hello, World!\n", "body": b"%d\n" % BODY_BYTES, "stream": BLOCK * (BODY_BYTES // len(BLOCK))}
    return answer == rights[app]


def serve_by_bjoern(app: str, host: str, port: int, processes: int) -> None:
    """Serve by bjoern: its processes share one listener, as its documentation shows."""
    import bjoern  # type: ignore

    bjoern.listen(getattr(sys.modules[__name__], app), host, port, listen_backlog=2048)
    for _ in range(processes - 1):
        if not os.fork():
            break
    bjoern.run()


if __name__ == "__main__":
    serve_by_bjoern(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
