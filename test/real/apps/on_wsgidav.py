"""WebDAV for the folder that $SHARE names. Locks and properties are in the memory of one process."""

import os

from wsgidav.fs_dav_provider import FilesystemProvider
from wsgidav.wsgidav_app import WsgiDAVApp

dav = WsgiDAVApp(
    {
        "provider_mapping": {"/": FilesystemProvider(os.environ["SHARE"])},
        "simple_dc": {"user_mapping": {"*": True}},
        "lock_storage": True,
        "property_manager": True,
        "dir_browser": {"enable": False},
        "logging": {"enable": False},
        "verbose": 0,
    }
)


def app(environ, start_response):
    """WsgiDAV with a Lock-Token and a Content-Type that litmus can read: RFC 4918 10.5 wants <> around a token."""

    def start(status, fields, exc_info=None):
        right = {"Lock-Token": "<{}>", "Content-Type": "application/xml; charset=utf-8"}
        if environ["REQUEST_METHOD"] == "LOCK" and any(name == "Lock-Token" for name, _ in fields):
            fields = [(name, right.get(name, "{}").format(value)) for name, value in fields]
        return start_response(status, fields, exc_info)

    return dav(environ, start)
