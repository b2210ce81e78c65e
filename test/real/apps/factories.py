"""Flask applications that factories make, as gunicorn's and Flask's documentation show."""

import flask


def create_app(name="factory"):
    made = flask.Flask(__name__)
    made.add_url_rule("/", view_func=lambda: f"made by {name}\n", endpoint="page")
    return made


class Project:
    create_app = staticmethod(lambda: create_app("an attribute"))
