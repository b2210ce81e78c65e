"""Return what is no iterable of bytes; the path says what."""

ODD = {
    "/none": None,
    "/str": "text",
    "/bytes": b"text",
    "/int": 5,
    "/list-of-str": ["text"],
    "/list-of-int": [5],
    "/later-str": (b"one\n", "two\n"),
}


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return ODD[environ["PATH_INFO"]]
