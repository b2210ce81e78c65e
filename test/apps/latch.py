"""Hold a request for /wait until a byte comes through the FIFO named by LATCH.

Such a request adds its process's number to the file $LATCH.arrived, so that a test knows
that it is in the application. Every other request is answered at once.
"""

import os


def wait():
    latch = os.open(os.environ["LATCH"], os.O_RDONLY)
    with open(os.environ["LATCH"] + ".arrived", "a") as arrived:
        arrived.write(f"{os.getpid()}\n")
    os.read(latch, 1)
    os.close(latch)


def app(environ, start_response):
    if environ["PATH_INFO"] == "/wait":
        wait()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"done\n"]
