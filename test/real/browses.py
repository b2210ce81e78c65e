"""Load a page as a browser does, from page:app.

    python browses.py URL KEEP_ALIVE_S

Two connections are opened ahead and stay silent; six load what the page names and are kept; three downloads are given up in
the middle; the page is loaded again, by what is left, and by one that was silent until now. What is then idle, the server
ends, and nothing is on it but its end. Exit status 0: all came, and was whole.
"""

import re
import socket
import sys
import threading
import time
from urllib.parse import urlsplit

PATIENCE_S = 20
ASSETS = [f"/asset/{number}" for number in range(24)]
HEAD = re.compile(rb"HTTP/1\.1 200 OK\r\n(?:.*\r\n)*?Content-Length: (\d+)\r\n(?:.*\r\n)*?\r\n", re.I)
FIELDS = "Host: a\r\nConnection: keep-alive\r\nAccept: */*\r\nAccept-Encoding: gzip, deflate, br\r\nSec-Fetch-Mode: cors\r\n"


class Connection:
    def __init__(self, address):
        self.sock = socket.create_connection(address, PATIENCE_S)
        self.received = b""

    def ask(self, path):
        self.sock.sendall(f"GET {path} HTTP/1.1\r\n{FIELDS}\r\n".encode())

    def receive(self):
        block = self.sock.recv(1 << 16)
        assert block, "the connection ended"
        self.received += block

    def load(self, path):
        """Return the body of what is at the path."""
        self.ask(path)
        while not HEAD.match(self.received):
            self.receive()
        head = HEAD.match(self.received)
        end = head.end() + int(head.group(1))
        while len(self.received) < end:
            self.receive()
        body, rest = self.received[head.end() : end], self.received[end:]
        assert rest == b"", rest
        self.received = b""
        return body


def load_all(connections):
    """Load the page, and then the assets, at once on all connections."""
    assert b"<title>page</title>" in connections[0].load("/")
    loaded = []

    def work(connection, paths):
        for path in paths:
            if connection.load(path) == b"count += 1 //" + path.encode().rjust(50000, b"."):
                loaded.append(path)

    threads = [
        threading.Thread(target=work, args=(connection, ASSETS[number :: len(connections)]))
        for number, connection in enumerate(connections)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(loaded) == sorted(ASSETS), f"only {len(loaded)} came whole"


def main():
    split, keep_alive = urlsplit(sys.argv[1]), float(sys.argv[2])
    address = split.hostname, split.port
    silent = [Connection(address) for _ in range(2)]
    kept = [Connection(address) for _ in range(6)]
    load_all(kept)
    for connection in kept[3:]:
        connection.ask("/download")
        connection.receive()
    for connection in kept[3:]:
        connection.sock.close()  # on unread bytes: the server sees a reset
    kept[3:] = [silent.pop(), Connection(address), Connection(address)]
    load_all(kept)
    asked = time.monotonic()
    for connection in kept:
        assert connection.sock.recv(1) == b"", "bytes that nobody asked for"
    assert time.monotonic() - asked > keep_alive / 2, "it ends an idle connection at once"
    load_all([Connection(address) for _ in range(6)])


if __name__ == "__main__":
    main()
