"""Answer with 5 MB of numbered lines, without a length: in small blocks, at /written by the write callable in large
ones; at /announced with the first large one, and its length."""


def app(environ, start_response):
    path = environ["PATH_INFO"]
    size = 6000 if path == "/" else 100000
    blocks = (b"".join(b"%08d\n" % number for number in range(at, at + size)) for at in range(0, 600000, size))
    if path == "/announced":
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(9 * size))])
        return iter([next(blocks)])
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    if path == "/written":
        for block in blocks:
            write(block)
        return []
    return blocks
