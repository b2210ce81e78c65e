"""Write "late" with the write callable in close(), after two blocks."""


class Pieces:
    def __init__(self, write):
        self.write = write

    def __iter__(self):
        yield b"in "
        yield b"time\n"

    def close(self):
        self.write(b"late\n")


def app(environ, start_response):
    return Pieces(start_response("200 OK", [("Content-Type", "text/plain")]))
