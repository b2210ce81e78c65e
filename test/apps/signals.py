"""Answer with what a signal handler of the application's own saw, and with the signals blocked."""

import signal
import subprocess

seen = []


def app(environ, start_response):
    before = signal.signal(signal.SIGCHLD, lambda number, frame: seen.append("SIGCHLD"))
    status = subprocess.call(["sh", "-c", "exit 7"])
    blocked = len(signal.pthread_sigmask(signal.SIG_BLOCK, []))
    body = f"default {before == signal.SIG_DFL}, saw {seen}, status {status}, blocked {blocked}\n".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
