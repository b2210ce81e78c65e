"""Raise: at / when called, at /first before the first piece, at /later after it, at /exit a GeneratorExit."""


def pieces(first):
    if first:
        raise ValueError("broken on purpose")
    yield b"one\n"
    raise ValueError("broken on purpose")


class Leaving:
    def __iter__(self):
        return self

    def __next__(self):
        raise GeneratorExit

    def close(self):
        print("closed")


def app(environ, start_response):
    if environ["PATH_INFO"] == "/":
        raise ValueError("broken on purpose")
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["PATH_INFO"] == "/exit":
        return Leaving()
    return pieces(environ["PATH_INFO"] == "/first")
