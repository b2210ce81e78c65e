"""Answer with "done"; at /freeze, have the clocks of this process stand still in 2100 from then on, until /thaw."""

import time

clocks = {name: getattr(time, name) for name in ("time", "monotonic", "time_ns", "monotonic_ns")}


def app(environ, start_response):
    for name, clock in clocks.items():
        if environ["PATH_INFO"] == "/freeze":
            setattr(time, name, lambda name=name: 4102444800 * (10**9 if name.endswith("_ns") else 1))
        elif environ["PATH_INFO"] == "/thaw":
            setattr(time, name, clock)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"done\n"]
