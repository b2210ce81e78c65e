"""Ask on one connection again and again, kill the server's parent, and ask on.

    python busy_client.py PORT PID

Exit status 0: soon after the parent was killed, a response said that the connection closes, or it was closed
between two requests.
"""

import os
import signal
import socket
import sys


def main():
    port, pid = map(int, sys.argv[1:])
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        for number in range(20000):
            try:
                sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                response = sock.recv(9999)
            except (BrokenPipeError, ConnectionResetError):
                response = b""
            if not response or b"\r\nConnection: close\r\n" in response:
                return None if number > 100 else "the connection closes too early"
            if number == 100:
                os.kill(pid, signal.SIGKILL)
    return "it is served without end"


if __name__ == "__main__":
    sys.exit(main())
