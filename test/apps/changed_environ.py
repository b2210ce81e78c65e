"""Answer with the number of names in the environ, then take them all away and leave another."""


def app(environ, start_response):
    body = b"%d names, spoiled: %r\n" % (len(environ), "spoiled" in environ)
    environ.clear()
    environ["spoiled"] = "yes"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
