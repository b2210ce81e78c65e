"""Send requests, read nothing of the responses, and reset the connection when the server has come to a halt.

    python leaves.py PORT FILE REQUEST-LINE [TIMES]

FILE is where `altered.py shown-sends` writes. With `arrived` for TIMES, the connection is reset when the request is in
the application, where the latch holds it, and the latch lets go then.
"""

import os
import socket
import struct
import sys
import time

QUIET_S = 0.3  # in which a server that can send sends


def main() -> None:
    port, file, line, *times = sys.argv[1:]
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", int(port)))
    client.setblocking(False)
    in_application = times == ["arrived"]
    left = (line.encode() + b"\r\nHost: a\r\n\r\n") * (1 if in_application or not times else int(times[0]))
    arrived, sizes = os.environ["LATCH"] + ".arrived", [0]
    while not (os.path.exists(arrived) if in_application else 0 < sizes[-1] == sizes[-2]):
        try:
            left = left[client.send(left) :]
        except BlockingIOError:
            pass
        time.sleep(QUIET_S)
        sizes.append(os.stat(file).st_size)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    if in_application:
        os.remove(arrived)
        with open(os.environ["LATCH"], "w") as latch:
            latch.write("x")


if __name__ == "__main__":
    main()
