"""Answer with a head that HTTP cannot carry, or that is not the application's to write; the path says which."""

HEADS = {
    "/crlf": ("200 OK", [("X-Next", "a\r\nSet-Cookie: x=1")]),
    "/cr": ("200 OK", [("X-Next", "a\rSet-Cookie: x=1")]),
    "/lf": ("200 OK", [("X-Next", "a\nSet-Cookie: x=1")]),
    "/nul": ("200 OK", [("X-Next", "a\0b")]),
    "/name": ("200 OK", [("X Bad Name", "a")]),
    "/name-crlf": ("200 OK", [("X: a\r\nSet-Cookie", "x=1")]),
    "/name-colon": ("200 OK", [("X:", "a")]),
    "/name-empty": ("200 OK", [("", "a")]),
    "/status-crlf": ("200 OK\r\nSet-Cookie: x=1", []),
    "/status-short": ("20 OK", []),
    "/length": ("200 OK", [("Content-Length", "5\r\n\r\nHTTP/1.1 200 OK")]),
    "/length-word": ("200 OK", [("Content-Length", "+5")]),
    "/lengths": ("200 OK", [("Content-Length", "5"), ("Content-Length", "0")]),
    "/both": ("200 OK", [("Content-Length", "5"), ("Transfer-Encoding", "chunked")]),
}


def app(environ, start_response):
    start_response(*HEADS[environ["PATH_INFO"]])
    return [b"hello"]
