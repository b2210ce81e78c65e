"""Run a server with other limits than its own, to reach in a moment what takes a client long.

    python limited.py NAME=VALUE... [python] webserver.py ARGUMENTS...

NAME is an attribute of webserver.Limits; one that is not there is an error. An interpreter named
before the script is skipped: the one that runs this file runs the server, in the same process.
"""

import importlib.util
import sys


def main() -> int:
    start = next(index for index, word in enumerate(sys.argv) if index and word.endswith(".py"))
    changes = [word.split("=", 1) for word in sys.argv[1:start] if "=" in word]
    sys.argv[:] = sys.argv[start:]
    spec = importlib.util.spec_from_file_location("webserver", sys.argv[0])
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["webserver"] = module
    spec.loader.exec_module(module)
    for name, value in changes:
        setattr(module.Limits, name, type(getattr(module.Limits, name))(value))
    status: int = module.main()
    return status


if __name__ == "__main__":
    sys.exit(main())
