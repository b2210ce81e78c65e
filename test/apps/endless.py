"""Answer with a line, again and again, and never come to an end: at / by yielding it, at /written by
the write callable, at /short after a Content-Length of five bytes."""

import time


def pieces():
    try:
        while True:
            yield b"more\n"
            time.sleep(0.05)
    finally:
        print("closed")


def app(environ, start_response):
    length = [("Content-Length", "5")] if environ["PATH_INFO"] == "/short" else []
    write = start_response("200 OK", length)
    while environ["PATH_INFO"] == "/written":
        write(b"more\n")
        time.sleep(0.05)
    return pieces()
