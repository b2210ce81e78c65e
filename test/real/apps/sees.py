"""Write what was seen of each request into $LOG, a line of JSON, before the answer, which says the same."""

import json
import os

log = os.open(os.environ["LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def app(environ, start_response):
    body = environ["wsgi.input"].read()
    seen = {
        "method": environ["REQUEST_METHOD"],
        "target": environ["REQUEST_URI"],
        "front": environ.get("HTTP_X_FRONT"),
        "body": body.decode("latin-1"),
        "client": environ.get("REMOTE_ADDR"),
        "fields": {name: environ[name] for name in environ if name.startswith("HTTP_")},
    }
    line = json.dumps(seen).encode() + b"\n"
    os.write(log, line)
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(line)))])
    return [line]
