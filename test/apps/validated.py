"""Answer with the application that the first part of the path names, inside the validator of wsgiref."""

import importlib
from wsgiref.util import shift_path_info
from wsgiref.validate import validator


def app(environ, start_response):
    module = importlib.import_module(shift_path_info(environ))
    return validator(module.app)(environ, start_response)
