"""Start a thread at import: it lives in the parent alone."""

import threading

from hello import app

__all__ = ["app"]

threading.Thread(target=threading.Event().wait, daemon=True).start()
