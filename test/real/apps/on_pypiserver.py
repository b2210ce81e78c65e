"""A package index, by a factory: the packages are those in $PACKAGES, and anyone may upload."""

import os

import pypiserver


def create_app():
    return pypiserver.app(roots=[os.environ["PACKAGES"]], authenticate=[], password_file=".", disable_fallback=True)
