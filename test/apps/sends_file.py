"""Answer with the file that FILE names, through wsgi.file_wrapper; the path says in what form."""

import gzip
import io
import os
import subprocess


class Shown:
    """A file that prints when it is closed."""

    def __init__(self, file):
        self.file = file

    def __getattr__(self, name):
        return getattr(self.file, name)

    def close(self):
        print("closed")


class Reader:
    """What has a read method and nothing else."""

    def __init__(self, file):
        self.read = file.read


def partly_read(file):
    """Return the file, six bytes on; its buffer has read further."""
    file.read(6)
    return file


FORMS = {
    "/file": lambda path: open(path, "rb"),
    "/partly-read": lambda path: partly_read(open(path, "rb")),
    "/announced": lambda path: partly_read(open(path, "rb")),
    "/too-short": lambda path: open(path, "rb"),
    "/shown": lambda path: Shown(open(path, "rb")),
    "/bytes": lambda path: partly_read(io.BytesIO(b"0123456789")),
    "/reader": lambda path: Reader(open(path, "rb")),
    "/gzip": gzip.open,
    "/pipe": lambda path: subprocess.Popen(["cat", path], stdout=subprocess.PIPE).stdout,
}
LENGTHS = {"/announced": [("Content-Length", "4")], "/too-short": [("Content-Length", "1000000000")]}


def app(environ, start_response):
    path = environ["PATH_INFO"]
    start_response("200 OK", [("Content-Type", "application/octet-stream"), *LENGTHS.get(path, [])])
    return environ["wsgi.file_wrapper"](FORMS[path](os.environ["FILE"]))
