"""Fork a process that sleeps, end it with TERM, and answer with how it ended. /later: how a program
that an earlier request of this process started has ended."""

import multiprocessing
import os
import subprocess
import time

programs = []


def sleep(ready):
    os.write(ready, b"r")
    time.sleep(60)


def run(path):
    if path == "/start":
        programs.append(subprocess.Popen(["sh", "-c", "exit 7"]))
        return "started\n"
    if path == "/later":
        return f"status {programs[0].wait()}\n"
    running, ready = os.pipe()
    process = multiprocessing.get_context("fork").Process(target=sleep, args=(ready,))
    process.start()
    os.read(running, 1)  # CPython forgets a signal that comes while it forks
    process.terminate()
    process.join()
    return f"status {process.exitcode}\n"


def app(environ, start_response):
    body = run(environ["PATH_INFO"]).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
