"""Run a server where the system or a limit is different, or shows what it is asked for.

    python altered.py CHANGE... python webserver.py ARGUMENTS...

    no-fork         the platform has no os.fork
    no-ipv6         no interface has an IPv6 address
    no-permission   no address may be bound
    one-second      the clock stands still, but for deadlines
    epoch           it stands still in the first second of 1970
    held-listen     each listen leaves a line `listen` on stderr, and waits for the FIFO that LATCH names
    shown-sends     each send and sendfile leaves a line `send N` or `sendfile N` on stderr
    raising-recv    a recv that gives `raise` raises a RuntimeError
    failing-epoll   each call of an epoll fails for the first connection that it is for, which leaves a line
                    `injected epoll CALL` on stderr
    room:N          from the first connection on there are descriptors for N connections, and no more
    NAME=VALUE      an attribute of webserver.Limits, to reach in a moment what takes a client long
    CALL:ERRNO:TIMES[:AFTER]
                    TIMES calls of accept, fork, sendfile or unlink, the first ones or those after the first AFTER, raise the
                    OSError of that name, and each leaves a line `injected CALL ERRNO` on stderr, so that a test can tell a
                    failure survived from one that never came. A failed accept takes no connection out of the
                    backlog. Limits such as `ulimit -n` reach only some of these errors. Each process counts its own
                    calls; the fork of a Server, in the Supervisor, is not `fork` but `fork-server`.

The interpreter that is named before the script is skipped: the one that runs this file runs the server, in
the same process.
"""

import errno
import importlib.util
import os
import resource
import select
import socket
import sys
import time
from typing import Any, Callable

FIRST = os.getpid()  # the Supervisor's, where there is one
bind, listen = socket.socket.bind, socket.socket.listen
recv = socket.socket.recv


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


def raise_on_demand(sock: socket.socket, *arguments: Any) -> bytes:
    data = recv(sock, *arguments)
    if data == b"raise":
        raise RuntimeError("raised on demand")
    return data


def is_connected(descriptor: int) -> bool:
    try:
        with socket.socket(fileno=os.dup(descriptor)) as sock:
            sock.getpeername()
            return sock.family != socket.AF_UNIX  # as the server's own pairs are
    except OSError:
        return False


def fail_epoll() -> None:
    owner: Any = select
    original, left = owner.epoll, {"register", "modify", "unregister"}

    class Failing:
        def __init__(self, *arguments: Any, **named: Any) -> None:
            self.epoll = original(*arguments, **named)

        def __getattr__(self, name: str) -> Any:
            call = getattr(self.epoll, name)

            def fail_once(file: Any, *arguments: Any) -> Any:
                if name in left and is_connected(file if isinstance(file, int) else file.fileno()):
                    left.discard(name)
                    os.write(2, f"injected epoll {name}\n".encode())
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                return call(file, *arguments)

            return fail_once if name in left else call

    owner.epoll = Failing


def failing(call: str, error: str, times: str, after: str = "0") -> None:
    name = call.partition("-")[0]
    owner: Any = socket.socket if name == "accept" else os
    attribute = "_accept" if name == "accept" else name  # what webserver.py calls
    function, left, good = getattr(owner, attribute), [int(times)], [int(after)]

    def fail_first(*arguments: Any) -> Any:
        if name == "fork" and (call == "fork-server") != forks_a_server():
            return function(*arguments)
        if good[0] or not left[0]:
            good[0] -= bool(good[0])
            return function(*arguments)
        left[0] -= 1
        os.write(2, f"injected {call} {error}\n".encode())
        number = getattr(errno, error)
        raise OSError(number, os.strerror(number))

    setattr(owner, attribute, fail_first)


def forks_a_server() -> bool:
    return os.getpid() == FIRST and hasattr(sys.modules["webserver"], "Supervisor")


def leave_room(count: int) -> None:
    owner: Any = socket.socket
    accept = owner._accept

    def limit_and_accept(sock: socket.socket) -> Any:
        owner._accept = accept
        free = [os.dup(0) for _ in range(count)]  # the lowest, wherever there are gaps
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(free) + 1, max(free) + 1))
        for descriptor in free:
            os.close(descriptor)
        return accept(sock)

    owner._accept = limit_and_accept


def change(name: str) -> None:
    owner: Any = socket.socket
    system: Any = os
    if name == "no-fork":
        del system.fork
    elif name == "no-ipv6":
        owner.bind = refuse_ipv6
    elif name == "no-permission":
        owner.bind = refuse
    elif name == "one-second":
        clock: Any = time
        clock.time = lambda: 1e9
    elif name == "epoch":
        clock = time
        clock.time = lambda: 0.5
    elif name == "raising-recv":
        owner.recv = raise_on_demand
    elif name == "failing-epoll":
        fail_epoll()
    elif name == "held-listen":
        owner.listen = hold
    elif name == "shown-sends":
        owner.send, owner.sendall = shown("send", owner.send), shown("send", owner.sendall)
        owner.sendmsg = shown("send", owner.sendmsg)
        system.sendfile = shown("sendfile", os.sendfile)
    elif name.startswith("room:"):
        leave_room(int(name[5:]))
    elif ":" in name:
        failing(*name.split(":"))
    else:
        raise ValueError(name)


def main() -> int:
    start = next(index for index, word in enumerate(sys.argv) if index and word.endswith((".py", ".pyc")))
    changes = sys.argv[1 : start - 1]
    sys.argv[:] = sys.argv[start:]
    # What the interpreter puts first for a script: its folder, instead of that of this launcher.
    sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))
    limits = [word.split("=", 1) for word in changes if "=" in word]
    for name in changes:
        if "=" not in name:
            change(name)
    spec = importlib.util.spec_from_file_location("webserver", sys.argv[0])
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["webserver"] = module
    spec.loader.exec_module(module)
    for name, value in limits:
        setattr(module.Limits, name, type(getattr(module.Limits, name))(value))
    status: int = module.main()
    return status


if __name__ == "__main__":
    sys.exit(main())
