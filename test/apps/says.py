"""Make applications that answer with one line, at /wait when the latch lets go: app = says("one")."""

from latch import wait


def says(line):
    def app(environ, start_response):
        if environ["PATH_INFO"] == "/wait":
            wait()
        body = f"{line}\n".encode()
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
        return [body]

    return app
