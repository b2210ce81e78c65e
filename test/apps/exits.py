"""Leave functions for the end of the process, and what such functions tidy up.

EXITS names a folder. Each import adds its process's number to `imported`, each request for /register to `registered`,
and the functions that they leave with atexit add theirs to `exited`; that of an import prints, too. The import makes a
temporary folder, and leaves a file `buffered` open with a line that is not written yet. ENDING: `thread` or `daemon`
starts a thread that never ends, `hangs` leaves a function that never returns.
"""

import atexit
import os
import tempfile
import threading

import pid

FOLDER = os.environ["EXITS"]
ENDING = os.environ.get("ENDING", "")


def note(name):
    with open(os.path.join(FOLDER, name), "a") as file:
        file.write(f"{os.getpid()}\n")


def leave():
    note("exited")
    print("left", end="|")  # a line that has no end, and is not flushed


note("imported")
if ENDING == "hangs":
    atexit.register(threading.Event().wait)
atexit.register(leave)
folder = tempfile.TemporaryDirectory(prefix="of-import.", dir=FOLDER)
buffered = open(os.path.join(FOLDER, "buffered"), "a")
buffered.write(f"{os.getpid()}\n")
if ENDING in ("thread", "daemon"):
    threading.Thread(target=threading.Event().wait, daemon=ENDING == "daemon").start()


def app(environ, start_response):
    if environ["PATH_INFO"] == "/register":
        note("registered")
        atexit.register(note, "exited")
    assert os.path.isdir(folder.name), "somebody has removed it"
    return pid.app(environ, start_response)
