"""Wait for the latch at import."""

from hello import app
from latch import wait

__all__ = ["app"]

wait()
