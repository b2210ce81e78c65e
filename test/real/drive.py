"""Use an application as programs do, by requests and then by httpx.

    python drive.py URL STEP...      form, upload, stream, file, error

The steps are the functions below. Exit status 0: all was as it should be.
"""

import hashlib
import os
import re
import sys

TIMEOUT_S = 20


class Client:
    """What the two clients name differently."""

    def __init__(self, kind, url):
        self.kind, self.url = kind, url
        if kind == "requests":
            import requests

            self.session = requests.Session()
            self.session.trust_env = False
        else:
            import httpx

            self.session = httpx.Client(timeout=TIMEOUT_S, trust_env=False, follow_redirects=True)

    def ask(self, method, path, **arguments):
        if self.kind == "requests":
            arguments["timeout"] = TIMEOUT_S
        elif not isinstance(arguments.get("data", {}), dict):
            arguments["content"] = arguments.pop("data")
        return self.session.request(method, self.url + path, **arguments)

    def blocks(self, path):
        """Yield what comes, as it comes."""
        if self.kind == "requests":
            with self.session.get(self.url + path, stream=True, timeout=TIMEOUT_S) as response:
                yield from response.iter_content(None)
        else:
            with self.session.stream("GET", self.url + path) as response:
                yield from response.iter_raw()


def form(client):
    """Ask for the form, fill it in, be sent on, and read what a session, or a cookie, kept."""
    assert client.ask("GET", "/said").text == "nothing"
    page = client.ask("GET", "/form").text
    token = re.search('name="csrfmiddlewaretoken" value="([^"]+)"', page)
    fields = {"name": "Zoë", "note": "a&b=c +d%"}
    if token:
        fields["csrfmiddlewaretoken"] = token.group(1)
    response = client.ask("POST", "/form", data=fields)
    assert [before.status_code for before in response.history] == [303], response.history
    assert response.text == "Zoë: a&b=c +d%", response.text
    assert client.ask("GET", "/said").text == response.text


def upload(client):
    """Send a large file as a form does, and as a stream whose length is not known, and get it back."""
    with open(os.environ["UPLOAD"], "rb") as file:
        content = file.read()
        file.seek(0)
        response = client.ask("POST", "/upload", files={"file": ("name.bin", file)})
    assert response.content == content, (response.status_code, len(response.content))
    parts = (content[start : start + 100000] for start in range(0, len(content), 100000))
    response = client.ask("PUT", "/upload", data=parts)
    assert response.text == hashlib.sha256(content).hexdigest(), response.text


def stream(client):
    """Get the first block while the application waits for us to say what the second is."""
    blocks = client.blocks("/stream")
    assert next(blocks) == b"first\n"
    with open(os.environ["GATE"], "w") as gate:
        gate.write("second\n")
    assert b"".join(blocks) == b"second\n"


def file(client):
    """Get the whole, its beginning, middle and end, what is not there, and nothing when it is known."""
    with open(os.environ["UPLOAD"], "rb") as known:
        content = known.read()
    whole = client.ask("GET", "/file")
    assert (whole.status_code, whole.content) == (200, content)
    size = len(content)
    for wanted, start, end in (("0-99", 0, 100), ("1000000-", 1000000, size), ("-5", size - 5, size)):
        part = client.ask("GET", "/file", headers={"Range": "bytes=" + wanted})
        assert part.status_code == 206, part.status_code
        assert part.headers["Content-Range"] == f"bytes {start}-{end - 1}/{size}", part.headers
        assert part.content == content[start:end]
    assert client.ask("GET", "/file", headers={"Range": f"bytes={size}-"}).status_code == 416
    known = client.ask("GET", "/file", headers={"If-None-Match": whole.headers["ETag"]})
    assert (known.status_code, known.content) == (304, b"")
    head = client.ask("HEAD", "/file")
    assert (head.headers["Content-Length"], head.content) == (str(size), b"")


def error(client):
    """Get the application's own page for its error, and an answer after that."""
    response = client.ask("GET", "/error")
    assert response.status_code == 500 and "Server Error" in response.text, response.text
    assert client.ask("GET", "/nowhere").status_code == 404
    assert client.ask("GET", "/said").status_code == 200


def main():
    url, *steps = sys.argv[1:]
    for kind in ("requests", "httpx"):
        client = Client(kind, url)
        for step in steps:
            globals()[step](client)


if __name__ == "__main__":
    main()
