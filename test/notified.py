"""Be the service manager of sd_notify(3): run a program, and print what it is told.

    python notified.py ADDRESS PROGRAM ARGUMENT...

NOTIFY_SOCKET is the address, the file of a socket or, with @, a name in Linux's abstract name space. Each assignment that
comes is a line of the file that TOLD names, after `main`, or the number of the process that has sent it if that is
another, where the system says so. The program has this process's number; an orphan of it listens as long as that is there.
"""

import os
import socket
import struct
import sys


def listen(address: str) -> socket.socket:
    """Return the socket, whose datagrams come with the sender's number."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind("\0" + address[1:] if address.startswith("@") else address)
    if hasattr(socket, "SO_PASSCRED"):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    return sock


def take(sock: socket.socket, server: int) -> None:
    """Write down what comes as long as the server is there."""
    sock.settimeout(0.5)
    with open(os.environ["TOLD"], "a") as told:
        while True:
            try:
                data, control, *_ = sock.recvmsg(4096, 64)
            except socket.timeout:
                os.kill(server, 0)
                continue
            sender = struct.unpack("3i", control[0][2])[0] if control else server
            for line in data.decode().splitlines():
                told.write(f"{'main' if sender == server else sender} {line}\n")
            told.flush()


def main() -> None:
    address, *program = sys.argv[1:]
    sock, server = listen(address), os.getpid()
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        sock.close()
        os.environ["NOTIFY_SOCKET"] = address
        os.execvp(program[0], program)
    if not os.fork():  # an orphan: the server has no child that it does not know
        os.dup2(os.open(os.devnull, os.O_RDWR), 1)
        try:
            take(sock, server)
        except ProcessLookupError:
            pass
    os._exit(0)


if __name__ == "__main__":
    main()
