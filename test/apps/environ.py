"""Answer with the environ, a line for each name, in order."""


def app(environ, start_response):
    lines = [f"{name}={environ[name]}\n" for name in sorted(environ)]
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    return ["".join(lines).encode("utf-8", "backslashreplace")]
