"""Ask through a proxy on a few connections, again and again, until a file exists.

    python keeps_asking.py SOCKET FILE

Exit status 0: every request was answered with 200, and there were many, before the file was there and after.
"""

import http.client
import os
import socket
import sys
import threading

CONNECTIONS = 4
AFTER = 50  # requests that each sends once the file is there


class Connection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(sys.argv[1])


def ask(answers):
    connection, left = Connection("a"), AFTER
    while left:
        left -= os.path.exists(sys.argv[2])
        try:
            connection.request("GET", "/")
            response = connection.getresponse()
            response.read()
            answers.append(response.status)
        except (OSError, http.client.HTTPException) as problem:
            answers.append(repr(problem))
            connection.close()


def main():
    answers = []
    threads = [threading.Thread(target=ask, args=(answers,)) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lost = [answer for answer in answers if answer != 200]
    print(len(answers), "answers, lost:", lost)
    return bool(lost) or len(answers) < CONNECTIONS * AFTER + 100


if __name__ == "__main__":
    sys.exit(main())
