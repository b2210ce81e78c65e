"""A page with 24 scripts of 50 kB, which says how many ran once all are there; beside it a download of 30 MB."""

PAGE = b"""<!DOCTYPE html><title>page</title><p id="loaded">none</p><script>
let count = 0
addEventListener("load", () => { loaded.textContent = count + " loaded" })
</script>
%b
""" % b"\n".join(b'<script async src="/asset/%d"></script>' % number for number in range(24))


def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/":
        kind, body = "text/html", [PAGE]
    elif path.startswith("/asset/"):
        kind, body = "text/javascript", [b"count += 1 //" + path.encode().rjust(50000, b".")]
    elif path == "/download":
        kind, body = "application/octet-stream", [b"more\n" * 20000] * 300
    else:
        start_response("404 Not Found", [("Content-Length", "0")])
        return []
    start_response("200 OK", [("Content-Type", kind), ("Content-Length", str(sum(map(len, body))))])
    return body
