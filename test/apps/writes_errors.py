"""Write to wsgi.errors text that few encodings have: a snowman, half a surrogate pair, a NUL."""


def app(environ, start_response):
    errors = environ["wsgi.errors"]
    errors.write("before \u2603 \udc80 \xe9 \0 after\n")
    errors.writelines(["two ", "\u2603 ", "parts\n"])
    errors.flush()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"written\n"]
