"""Answer with the environ, a line for each name with its value as Python writes it, and its own type."""


def app(environ, start_response):
    lines = [f"{name}={environ[name]!r}\n" for name in sorted(environ)]
    lines.append(f"type {type(environ).__name__}\n")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return ["".join(lines).encode()]
