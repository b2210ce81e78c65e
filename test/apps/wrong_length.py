"""Promise five bytes: /short gives three, /long gives seven."""


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"123"] if environ["PATH_INFO"] == "/short" else [b"1234567"]
