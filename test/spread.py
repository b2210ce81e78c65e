"""Show how a server spreads connections over its processes.

    python spread.py PORT COUNT [one-by-one]

Opens COUNT connections, all at once or each after the answer to the one before, asks pid:app on each for its
process, and holds them all. Prints how many each process has, the smallest number first.
"""

import collections
import http.client
import sys


def ask(connection: http.client.HTTPConnection) -> str:
    connection.request("GET", "/")
    return connection.getresponse().read().decode().strip()


def main() -> None:
    port, count, slowly = int(sys.argv[1]), int(sys.argv[2]), "one-by-one" in sys.argv
    connections = [http.client.HTTPConnection("127.0.0.1", port, timeout=20) for _ in range(count)]
    found = []
    for connection in connections:
        connection.connect()
        if slowly:
            found.append(ask(connection))
    found = found or [ask(connection) for connection in connections]
    print(*sorted(collections.Counter(found).values()))


if __name__ == "__main__":
    main()
