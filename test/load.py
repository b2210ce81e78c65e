"""Ask a server again and again, eight clients at once and a connection a request, for some seconds.

    python load.py PORT SECONDS

Prints `N answered, N refused, N lost`: refused are connections that could not be made, or were not answered in ten
seconds; lost are those that ended before a whole answer.
"""

from __future__ import annotations

import collections
import socket
import sys
import threading
import time

PAUSE_S = 0.03  # of each client between two requests: the tests share the processors


def ask(port: int) -> str:
    try:
        with socket.create_connection(("127.0.0.1", port), 10) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            answer = b"".join(iter(lambda: sock.recv(9999), b""))
    except (ConnectionRefusedError, socket.timeout):
        return "refused"
    except ConnectionError:
        return "lost"
    return "answered" if answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b"\n") else "lost"


def main() -> None:
    port, end = int(sys.argv[1]), time.monotonic() + float(sys.argv[2])
    found: collections.Counter[str] = collections.Counter()

    def client() -> None:
        while time.monotonic() < end:
            found[ask(port)] += 1
            time.sleep(PAUSE_S)

    clients = [threading.Thread(target=client) for _ in range(8)]
    for one in clients:
        one.start()
    for one in clients:
        one.join()
    print(", ".join(f"{found[kind]} {kind}" for kind in ("answered", "refused", "lost")))


if __name__ == "__main__":
    main()
