"""Leave a function for the end of the interpreter."""

import atexit

from hello import app

__all__ = ["app"]

atexit.register(print, "at exit")
