"""A program that has webserver.serve() serve latch:app, with the options that its arguments give, NAME=LITERAL, and
says what is left of that when it has returned."""

import ast
import signal
import sys

import called
import latch
import webserver

SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGURG, signal.SIGCHLD]


def on_signal(signum, frame):
    """The program's own handler."""


def main():
    for signum in SIGNALS:
        signal.signal(signum, on_signal)
    options = {}
    for argument in sys.argv[3 if sys.argv[1] == "--bind" else 1 :]:
        name, _, value = argument.partition("=")
        options[name] = ast.literal_eval(value)
    before = called.descriptors()
    status = webserver.serve(latch.app, **{"bind": "127.0.0.1:0", **options})
    handlers = all(signal.getsignal(signum) is on_signal for signum in SIGNALS)
    print(f"returned {status}, handlers back {handlers}, open {called.descriptors() - before}")


main()
