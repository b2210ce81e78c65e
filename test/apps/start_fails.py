"""Fail at import as often as the file named by FAILURES has lines, one taken each time; then answer with "started"."""

import os

with open(os.environ["FAILURES"], encoding="utf-8") as file:
    left = file.readlines()
if left:
    with open(os.environ["FAILURES"], "w", encoding="utf-8") as file:
        file.writelines(left[1:])
    raise RuntimeError("broken on purpose")


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "8")])
    return [b"started\n"]
