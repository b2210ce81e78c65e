"""Heads as browsers send them, of 1 kB, with another path and cookie each time, and what reading one costs.

    python bench_heads.py webserver|h11     prints the microseconds of CPU that a head takes in this process
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, List

HEAD = """GET /articles/2024/05/page-@?tag=python&page=3 HTTP/1.1\r
Host: www.example.org\r
Connection: keep-alive\r
Cache-Control: max-age=0\r
sec-ch-ua: "Chromium";v="126", "Not(A:Brand";v="24", "Google Chrome";v="126"\r
sec-ch-ua-mobile: ?0\r
sec-ch-ua-platform: "Linux"\r
Upgrade-Insecure-Requests: 1\r
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36\r
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8\r
Sec-Fetch-Site: same-origin\r
Sec-Fetch-Mode: navigate\r
Sec-Fetch-User: ?1\r
Sec-Fetch-Dest: document\r
Referer: https://www.example.org/articles/2024/05/\r
Accept-Encoding: gzip, deflate, br, zstd\r
Accept-Language: en-GB,en;q=0.9,de;q=0.8\r
Cookie: theme=dark; consent=yes; _ga=GA1.2.1234567890.1716200000; csrftoken=Jx0aX9bqYt7vWm3KpZ5sRd8uEf2hCg6n; visit=@\r
\r
"""


def time_heads(who: str, count: int = 4000) -> float:
    """Return the microseconds that reading a head of many takes."""
    heads = [HEAD.replace("@", f"{number:08}").encode() for number in range(count)]
    if who == "webserver":
        sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
        import webserver

        context = webserver.ServerContext(webserver.Limits(), webserver.TrustedProxies(""))
        listener = webserver.listen("127.0.0.1:0", 1)[0]
        connection = webserver.Connection(listener.sock, ("127.0.0.1", 1), listener, context)
        readers: List[Any] = [lambda head: connection.request_cache.add(head, connection)] * count
    else:
        import h11

        def read(connection: Any, head: bytes) -> None:
            connection.receive_data(head)
            assert isinstance(connection.next_event(), h11.Request)

        connections = [h11.Connection(h11.SERVER) for _ in heads]
        readers = [lambda head, connection=connection: read(connection, head) for connection in connections]
    started = time.process_time()
    for reader, head in zip(readers, heads):
        reader(head)
    return (time.process_time() - started) / count * 1e6


if __name__ == "__main__":
    print(time_heads(sys.argv[1]))
