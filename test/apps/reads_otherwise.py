"""Answer with the file that FILE names, in capitals: /file is of a class that reads so, /wrapper a file_wrapper that
iterates so, /instance a file whose read was replaced."""

import io
import os


class Loud(io.FileIO):
    def read(self, size=-1):
        return super().read(size).upper()


def app(environ, start_response):
    class Wrapper(environ["wsgi.file_wrapper"]):
        def __iter__(self):
            return (block.upper() for block in super().__iter__())

    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["PATH_INFO"] == "/wrapper":
        return Wrapper(open(os.environ["FILE"], "rb"))
    if environ["PATH_INFO"] == "/instance":
        file = open(os.environ["FILE"], "rb")
        file.read = Loud(os.environ["FILE"]).read
        return environ["wsgi.file_wrapper"](file)
    return environ["wsgi.file_wrapper"](Loud(os.environ["FILE"]))
