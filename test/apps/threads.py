"""Answer with a sum made in threads; at /left leave a thread running without end."""

import threading
from concurrent.futures import ThreadPoolExecutor


def app(environ, start_response):
    if environ["PATH_INFO"] == "/left":
        threading.Thread(target=threading.Event().wait).start()
    with ThreadPoolExecutor(4) as pool:
        total = sum(pool.map(int, "1234"))
    body = f"sum {total}\n".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
