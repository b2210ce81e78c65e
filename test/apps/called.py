"""What the programs of library.bats share: to serve in a thread, and to ask."""

import contextlib
import os
import signal
import socket
import threading

import webserver


def app(environ, start_response):
    """Answer with the path."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["PATH_INFO"].encode()]


def descriptors():
    """Return how many are open."""
    count = 0
    for descriptor in range(256):
        try:
            os.fstat(descriptor)
            count += 1
        except OSError:
            pass
    return count


def start(call):
    """Return a thread that has begun to call."""
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    return thread


@contextlib.contextmanager
def serving(server):
    """Have the server serve in a thread."""
    thread = start(server.serve_forever)
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()


def ask(server, path="/"):
    """Return the status, and the body, of the answer to a request for this path."""
    with socket.create_connection(("127.0.0.1", server.server_port)) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        head, _, body = b"".join(iter(lambda: client.recv(65536), b"")).partition(b"\r\n\r\n")
        return int(head.split(b" ")[1]), body.decode()


def make(application=app, port=0):
    """Return a server on the loopback."""
    return webserver.make_server("127.0.0.1", port, application)


def interrupted(server):
    """Serve until a KeyboardInterrupt, which comes after a request. Raises AssertionError where it does not come out."""
    start(lambda: (ask(server), os.kill(os.getpid(), signal.SIGINT)))
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        return
    raise AssertionError("no KeyboardInterrupt came out")
