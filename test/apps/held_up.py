"""Answer /blocks with 64 KB blocks without end and print a line for each, every other request with one line."""


def blocks():
    while True:
        print("made")
        yield b"x" * 65536


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return blocks() if environ["PATH_INFO"] == "/blocks" else [b"another\n"]
