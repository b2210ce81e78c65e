"""Use the write callable; the path says how.

/both writes two lines and returns a third, /held waits for the latch in between, /held-much after
160 kB, /length writes half of what it announced, /text writes a str, /fails writes and raises,
/much writes 64 MB and returns by how many MB the process grew meanwhile.
"""

import resource
import sys

from latch import wait


def most_memory():
    """Return the most memory that the process had, in MB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit // 1000000


def app(environ, start_response):
    path = environ["PATH_INFO"]
    write = start_response("200 OK", [("Content-Length", "8")] if path == "/length" else [])
    if path == "/much":
        before = most_memory()
        for _ in range(1024):
            write(b"x" * 65535 + b"\n")
        return [b"%d\n" % (most_memory() - before)]
    if path == "/held-much":
        for _ in range(20):
            write(b"x" * 8191 + b"\n")
        wait()
        return [b"two\n"]
    if path == "/length":
        write(b"1234")
        return [b"5678"]
    write("text" if path == "/text" else b"one\n")
    if path == "/fails":
        raise ValueError("broken on purpose")
    if path == "/held":
        wait()
        return [b"two\n"]
    write(b"two\n")
    return [b"three\n"]
