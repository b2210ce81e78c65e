"""Give start_response what is no str, no list or no tuple, but for /list; the path says what."""

ODD = {
    "/status-number": (200, []),
    "/status-bytes": (b"200 OK", []),
    "/status-none": (None, []),
    "/headers-tuple": ("200 OK", ()),
    "/list": ("200 OK", [("X-Even", "a")]),
    "/tuple": ("200 OK", (("X-Even", "a"),)),
    "/headers-none": ("200 OK", None),
    "/headers-dict": ("200 OK", {"X-Odd": "a"}),
    "/header-text": ("200 OK", ["X-Odd: a"]),
    "/header-list": ("200 OK", [["X-Odd", "a"]]),
    "/header-of-three": ("200 OK", [("X-Odd", "a", "b")]),
    "/name-bytes": ("200 OK", [(b"X-Odd", "a")]),
    "/value-bytes": ("200 OK", [("X-Odd", b"a")]),
    "/value-number": ("200 OK", [("X-Odd", 5)]),
    "/value-none": ("200 OK", [("X-Odd", None)]),
}


def app(environ, start_response):
    start_response(*ODD[environ["PATH_INFO"]])
    return [b"odd\n"]
