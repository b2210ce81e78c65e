"""A server that does wrong on purpose, for the tests of client.py. It prints its port as webserver.py does.

    python fake_server.py [--bind HOST:PORT] [--answer BYTES]... [--then close|reset|hold] [--together N]
        [--repeat N] [--heads N] [--to-end] [--at-once] [--late BYTES]

It takes one connection after another, reads a head, repeats it on stderr, and sends BYTES, one by
one; the next connection gets the next --answer, and after the last the first again. With --together it
answers none before N are open, and resets the last of them if others are closed before it is answered.
With --repeat it does so N times on each connection; with --heads it reads N heads before it sends
BYTES; with --to-end it reads on, until its client sends no more. With --at-once it sends BYTES whole; the
bytes of --late follow by themselves.
"""

import argparse
import os
import select
import signal
import socket
import struct
import sys
import time
from itertools import cycle
from typing import List


def read_heads(connection: socket.socket, count: int) -> bool:
    for _ in range(count):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = connection.recv(1)
            if not byte:
                return False
            head += byte
        print(repr(head), file=sys.stderr, flush=True)  # Python 3.8 keeps it back where it is no terminal
    return True


def answer(connection: socket.socket, data: bytes, found: argparse.Namespace) -> None:
    try:
        if read_heads(connection, found.heads):
            while found.to_end and connection.recv(65536):
                pass
            for number in () if found.at_once else data:
                connection.sendall(bytes([number]))
            connection.sendall(data if found.at_once else b"")
            if found.late:
                time.sleep(0.2)
                connection.sendall(found.late)
    except OSError:
        pass  # the client has gone, as it may


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bind", default="127.0.0.1:0")
    parser.add_argument("--answer", action="append", default=[], type=os.fsencode)
    parser.add_argument("--then", choices=("close", "reset", "hold"), default="close")
    parser.add_argument("--together", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--heads", type=int, default=1)
    parser.add_argument("--to-end", action="store_true")
    parser.add_argument("--at-once", action="store_true")
    parser.add_argument("--late", default=b"", type=os.fsencode)
    found = parser.parse_args()
    host, _, port = found.bind.rpartition(":")
    listener = socket.create_server((host, int(port)), backlog=1024)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(f"Serving HTTP on port {listener.getsockname()[1]} ...", flush=True)

    answers = cycle(found.answer or [b""])
    held: List[socket.socket] = []
    while True:
        connections = [listener.accept()[0] for _ in range(found.together)]
        for connection in connections[:-1]:
            answer(connection, next(answers), found)
        if len(connections) > 1 and select.select(connections[:-1], [], [], 0.5)[0]:
            reset(connections[-1])
        else:
            for _ in range(found.repeat):
                answer(connections[-1], next(answers), found)
        for connection in connections:
            if found.then == "close":
                connection.close()
            elif found.then == "reset":
                reset(connection)
            else:
                held.append(connection)


if __name__ == "__main__":
    main()
