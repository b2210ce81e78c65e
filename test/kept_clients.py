"""Ask on eight connections that are kept, again and again, have the server told to stop, and ask on.

    python kept_clients.py PORT PID

Exit status 0: each connection ended after a response that said so, or between two requests. The next request
goes out as soon as a response is there: whoever closes meanwhile has lost it.
"""

import os
import select
import signal
import socket
import sys
import time

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
MOMENT_S = 0.01  # after which a request may meet the end of an idle connection


def main():
    port, pid = map(int, sys.argv[1:])
    socks = [socket.create_connection(("127.0.0.1", port), 10) for _ in range(8)]
    late = dict.fromkeys(socks, False)  # whether the request on its way was sent after the moment
    answers, before = 0, time.monotonic()
    for sock in socks:
        sock.sendall(REQUEST)
    while socks:
        ready, _, _ = select.select(socks, [], [], 10)
        if not ready:
            return f"{len(socks)} connections hang"
        last, before = before, time.monotonic()  # what is there now came after the last look
        for sock in ready:
            try:
                response = sock.recv(9999)
                lost = not response
                if response and b"\r\nConnection: close\r\n" not in response:
                    answers += 1
                    sock.sendall(REQUEST)
                    late[sock] = time.monotonic() - last > MOMENT_S
                    continue
            except (BrokenPipeError, ConnectionResetError):
                lost = True
            if lost and not late[sock]:
                return f"a request is lost after {answers} answers"
            socks.remove(sock)
            if answers <= 1000:
                return "a connection ends too early"
        if answers > 1000 and pid:
            os.kill(pid, signal.SIGTERM)
            pid = 0
    return None


if __name__ == "__main__":
    sys.exit(main())
