"""Answer with a status and a header of a str that says something else when it is formatted."""


class Odd(str):
    def __str__(self):
        return "odd\r\nEvil: 1"

    def __format__(self, form):
        return str(self)


def app(environ, start_response):
    start_response(Odd("200 Even"), [("Content-Type", "text/plain"), (Odd("X-Name"), Odd("value"))])
    return [b"body\n"]
