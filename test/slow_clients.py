"""Hold many slow connections to a server, as an attack does that wants its every process.

    python slow_clients.py PORT KIND COUNT

    silent      say nothing
    head        send a head, a field line a second
    body        send a body, a byte a second
    read        ask for /large and read it, a byte a second

Prints `connected` when all have sent their first bytes, and goes on until it is killed. A connection that the
server has ended is not made again.
"""

import resource
import socket
import sys
import time

FIRST = {
    "silent": b"",
    "head": b"GET / HTTP/1.1\r\nHost: a\r\n",
    "body": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n",
    "read": b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n",
}
NEXT = {"head": b"X: y\r\n", "body": b"x"}


def connect(port: int, kind: str) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", port))
    sock.sendall(FIRST[kind])
    sock.setblocking(False)
    return sock


def go_on(sock: socket.socket, kind: str) -> None:
    try:
        if kind == "read":
            sock.recv(1)
        else:
            sock.send(NEXT.get(kind, b""))
    except OSError:
        pass  # nothing to read yet, or the server has ended it


def main() -> None:
    port, kind, count = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 20
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if most == resource.RLIM_INFINITY else min(wanted, most), most))
    socks = [connect(port, kind) for _ in range(count)]
    print("connected", flush=True)
    while True:
        time.sleep(1)
        for sock in socks:
            go_on(sock, kind)


if __name__ == "__main__":
    main()
