"""What Python costs at least: answer whatever arrives with the same bytes, and read none of it.

    python bench_yardstick.py loop|fork keep|close HOST PORT [KB]     one process for all connections, or one for each

It imports little, for a fork costs what the process holds; with KB it holds so much private memory, in small objects.
"""

from __future__ import annotations

import os
import select
import socket
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

REPLY = b"HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Type: text/plain\r\nContent-Length: 14\r\n"


def serve_by_loop(listener: socket.socket, close: bool, reply: bytes) -> NoReturn:
    """Answer whatever arrives with `reply`, without end."""
    poll: Any = getattr(select, "epoll", select.poll)()
    readable = select.POLLIN
    poll.register(listener, readable)
    accept, door, clients = listener.accept, listener.fileno(), {}
    while True:
        for number, _ in poll.poll():
            if number == door:
                client, _ = accept()
                client.setblocking(False)
                clients[client.fileno()] = client
                poll.register(client, readable)
                continue
            client = clients[number]
            try:
                data = client.recv(32768)
                if data:
                    client.send(reply)
            except OSError:
                data = b""
            if close or not data:
                del clients[number]
                if not hasattr(select, "epoll"):
                    poll.unregister(number)
                client.close()


def serve_by_forks(listener: socket.socket, close: bool, reply: bytes) -> NoReturn:
    """Answer in a process for each connection, and reap."""
    children = 0
    while True:
        client, _ = listener.accept()
        if not os.fork():
            try:
                while client.recv(32768):
                    client.send(reply)
                    if close:
                        break
            finally:
                os._exit(0)
        client.close()
        children += 1
        while children and os.waitpid(-1, os.WNOHANG)[0]:
            children -= 1


def private_kb() -> int:
    """Return the private memory of this process, of which every fork has to copy the page table."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon:"))


def yardstick(how: str, ending: str, host: str, port: int, kb: int) -> NoReturn:
    """Serve as the yardstick does."""
    close, ballast = ending == "close", []
    while kb and private_kb() < kb:
        ballast += [bytes(200) for _ in range(1000)]
    with socket.create_server((host, port), backlog=2048) as listener:
        serve = serve_by_forks if how == "fork" else serve_by_loop
        serve(listener, close, REPLY + (b"Connection: close\r\n" if close else b"") + b"\r\nHello, World!\n")


if __name__ == "__main__":
    yardstick(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int([*sys.argv, "0"][5]))
