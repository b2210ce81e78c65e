"""Answer with 32 MB, more than the system takes in while the client does not read, and the line "end"."""


def app(environ, start_response):
    body = b"more\n" * 6400000 + b"end\n"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
