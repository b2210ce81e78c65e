"""Answer with the request as the application sees it, a line for each part, escaped as in Python."""


def app(environ, start_response):
    lines = [f"{name}={environ[name]!a}\n" for name in ("REQUEST_METHOD", "REQUEST_URI", "SERVER_PROTOCOL")]
    lines += [f"{name}={environ[name]!a}\n" for name in ("SCRIPT_NAME", "PATH_INFO", "QUERY_STRING")]
    fields = sorted(name for name in environ if name.startswith(("HTTP_", "CONTENT_")))
    lines += [f"{name}={environ[name]!a}\n" for name in fields]
    lines.append(f"body={environ['wsgi.input'].read()!a}\n")
    body = "".join(lines).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
