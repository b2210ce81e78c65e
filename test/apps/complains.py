"""Raise what repeats the path, decoded: a client chooses lines of the traceback."""


def app(environ, start_response):
    raise ValueError(environ["PATH_INFO"])
