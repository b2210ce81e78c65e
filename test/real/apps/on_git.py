"""A git server: each request runs git http-backend, a CGI program, on the repositories in $REPOSITORIES."""

import os
import shutil
import subprocess
import tempfile

CGI = ("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "CONTENT_TYPE", "HTTP_CONTENT_ENCODING", "HTTP_GIT_PROTOCOL")


def app(environ, start_response):
    with tempfile.TemporaryFile() as body:
        shutil.copyfileobj(environ["wsgi.input"], body)
        variables = {name: environ[name] for name in CGI if name in environ}
        variables.update(
            GIT_PROJECT_ROOT=os.environ["REPOSITORIES"],
            GIT_HTTP_EXPORT_ALL="",
            GIT_PROTOCOL=environ.get("HTTP_GIT_PROTOCOL", ""),
            CONTENT_LENGTH=str(body.tell()),
        )
        body.seek(0)
        program = subprocess.Popen(
            ["git", "http-backend"], stdin=body, stdout=subprocess.PIPE, env={**os.environ, **variables}
        )
    lines = (line.decode("latin-1").rstrip("\r\n") for line in iter(program.stdout.readline, b""))
    fields = [line.split(": ", 1) for line in iter(lambda: next(lines, ""), "")]
    status = dict(fields).get("Status", "200 OK")
    start_response(status, [(name, value) for name, value in fields if name != "Status"])
    try:
        yield from iter(lambda: program.stdout.read1(1 << 16), b"")
    finally:
        program.stdout.close()
        program.wait()
