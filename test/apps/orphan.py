"""Leave behind a program that waits for the latch; its own parent has gone before the answer."""

import os
import subprocess


def app(environ, start_response):
    subprocess.check_call(["sh", "-c", 'head -c 1 <"$LATCH" >/dev/null &'])
    body = f"{os.getpid()}\n".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
