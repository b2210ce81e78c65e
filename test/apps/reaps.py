"""Reap whatever ends, in a thread that is started at import."""

import os
import threading
import time

from pid import app

__all__ = ["app"]


def reap():
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            time.sleep(0.01)


threading.Thread(target=reap, daemon=True).start()
