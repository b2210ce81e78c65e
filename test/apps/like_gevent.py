"""Patch the standard library as gevent's patch_all() does, as far as a server can see that."""

import functools
import select
import socket
import sys
import threading
import time
import types

from hello import app

__all__ = ["app"]

saved = {"socket": {"socket": socket.socket}, "select": {"select": select.select}, "threading": {}, "time": {}}
monkey = types.ModuleType("gevent.monkey")
monkey.saved = saved
monkey.is_module_patched = saved.__contains__
monkey.is_object_patched = lambda module, name: name in saved.get(module, {})
gevent = types.ModuleType("gevent")
gevent.monkey = monkey
sys.modules.update({"gevent": gevent, "gevent.monkey": monkey})


class PatchedSocket(socket.socket):
    pass


PatchedSocket.__module__ = "gevent._socket3"
socket.socket = PatchedSocket
select.select, time.sleep = functools.partial(select.select), functools.partial(time.sleep)
threading.Thread.start = functools.partial(threading.Thread.start)
if hasattr(select, "epoll"):
    del select.epoll  # as gevent does, which has no substitute for it
