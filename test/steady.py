"""Ask a server without a pause until TERM comes: four clients open a connection for each request, and four keep theirs
and think for a while between two requests. Every other request is a POST.

    python steady.py PORT

Prints `N answered, N failed`, and each kind of failure. Exit status 0: none failed, and some for each client were answered.
"""

import collections
import http.client
import signal
import sys
import threading
import time

PAUSE_S = 0.04  # the tests share the processors
THINK_S = (0.03, 0.05, 0.1, 0.2)


def main():
    port, found, stop = int(sys.argv[1]), collections.Counter(), threading.Event()

    def client(think):
        connection, method = http.client.HTTPConnection("127.0.0.1", port, timeout=10), "GET"
        while not stop.is_set():
            method = "POST" if method == "GET" else "GET"
            try:
                fields = {} if think else {"Connection": "close"}
                connection.request(method, "/", b"body" if method == "POST" else None, fields)
                response = connection.getresponse()
                response.read()
                found["answered" if response.status == 200 else response.status] += 1
            except (OSError, http.client.HTTPException) as error:
                found[repr(error)] += 1
                connection.close()
            time.sleep(think or PAUSE_S)
        connection.close()

    clients = [threading.Thread(target=client, args=(think,)) for think in (*THINK_S, 0, 0, 0, 0)]
    signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
    for one in clients:
        one.start()
    stop.wait()
    for one in clients:
        one.join()
    answered = found.pop("answered", 0)
    print(f"{answered} answered, {sum(found.values())} failed", *(f"{found[kind]} {kind}" for kind in found), sep="\n")
    return not answered > 16 or bool(found)


if __name__ == "__main__":
    sys.exit(main())
