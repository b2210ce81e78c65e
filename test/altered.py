"""Run a server where the system is different, or shows what it is asked for.

    python altered.py CHANGE [python] webserver.py ARGUMENTS...

    no-fork         the platform has no os.fork
    no-ipv6         no interface has an IPv6 address
    no-permission   no address may be bound
    held-listen     each listen leaves a line `listen` on stderr, and waits for the FIFO that LATCH names
    shown-sends     each send and sendfile leaves a line `send N` or `sendfile N` on stderr

An interpreter named before the script is skipped: the one that runs this file runs the server, in the
same process.
"""

import errno
import os
import runpy
import socket
import sys
from typing import Any, Callable

bind, listen = socket.socket.bind, socket.socket.listen


def refuse_ipv6(sock: socket.socket, address: Any) -> None:
    if sock.family == socket.AF_INET6:
        raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    bind(sock, address)


def refuse(sock: socket.socket, address: Any) -> None:
    raise OSError(errno.EACCES, os.strerror(errno.EACCES))


def hold(sock: socket.socket, *backlog: Any) -> None:
    os.write(2, b"listen\n")
    with open(os.environ["LATCH"], "rb", buffering=0) as latch:
        latch.read(1)
    listen(sock, *backlog)


def shown(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def show(*arguments: Any) -> Any:
        count = call(*arguments)
        os.write(2, f"{name} {count}\n".encode())
        return count

    return show


def change(name: str) -> None:
    owner: Any = socket.socket
    system: Any = os
    if name == "no-fork":
        del system.fork
    elif name == "no-ipv6":
        owner.bind = refuse_ipv6
    elif name == "no-permission":
        owner.bind = refuse
    elif name == "held-listen":
        owner.listen = hold
    elif name == "shown-sends":
        owner.send, owner.sendall = shown("send", owner.send), shown("send", owner.sendall)
        owner.sendmsg = shown("send", owner.sendmsg)
        system.sendfile = shown("sendfile", os.sendfile)
    else:
        raise ValueError(name)


def main() -> None:
    change(sys.argv[1])
    start = next(index for index, word in enumerate(sys.argv) if index and word.endswith(".py"))
    sys.argv[:] = sys.argv[start:]
    # What the interpreter puts first for a script: its folder, instead of that of this launcher.
    sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
