"""Fork a helper at import, and one at each request for /fork, which answers with its number. It lives until the latch lets
go, and before says in a line of the file $LATCH.forked what it has of the server: signal handlers, descriptors."""

import os
import signal
import stat

import pid
from latch import wait

DEFAULTS = (signal.SIG_DFL, signal.default_int_handler)
SIGNALS = [signal.Signals[name] for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGCHLD", "SIGUSR1", "SIGURG", "SIGALRM")]


def inherited():
    """Return what is not as Python has it from the start, but for the descriptors 0 to 2."""
    found = [signum.name for signum in SIGNALS if signal.getsignal(signum) not in DEFAULTS]
    found += ["wakeup"] * (signal.set_wakeup_fd(-1) != -1)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    found += ["blocked"] * bool(blocked)
    for number in range(3, 256):
        try:
            mode = os.fstat(number).st_mode
        except OSError:
            continue
        if not stat.S_ISREG(mode) and not stat.S_ISCHR(mode):
            found.append(f"{number}:{stat.filemode(mode)[0]}")
    return found


def fork():
    helper = os.fork()
    if not helper:
        with open(os.environ["LATCH"] + ".forked", "a") as file:
            file.write(f"{os.getpid()} has {inherited()}\n")
        wait()
        os._exit(0)
    return helper


fork()


def app(environ, start_response):
    if environ["PATH_INFO"] != "/fork":
        return pid.app(environ, start_response)
    body = f"{fork()}\n".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
