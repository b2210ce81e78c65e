"""Start a helper at import, whose number goes to the file `helpers` in the folder EXITS, and log a line that waits in
memory until the end. Both are tidied up by atexit, by multiprocessing and logging."""

import logging.handlers
import multiprocessing
import os
import time

from hello import app

__all__ = ["app"]

FOLDER = os.environ["EXITS"]

helper = multiprocessing.get_context("fork").Process(target=time.sleep, args=(1000,), daemon=True)
helper.start()
with open(os.path.join(FOLDER, "helpers"), "a") as file:
    file.write(f"{helper.pid}\n")
memory = logging.handlers.MemoryHandler(1000, target=logging.FileHandler(os.path.join(FOLDER, "logged")))
logging.getLogger().addHandler(memory)
logging.getLogger().warning("imported")
