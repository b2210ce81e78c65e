"""Give SIGPIPE its default at import, as programs for a shell do. Answer with the number of the process, and at /large
with 32 MB."""

import signal

from pid_or_large import app

__all__ = ["app"]

signal.signal(signal.SIGPIPE, signal.SIG_DFL)
