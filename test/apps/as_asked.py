"""Answer as the query asks, `?status=200+OK&Name=value`, with a block for each part of the path.

`/one/two` gives the list of one and two; `/` a list of one empty block.
"""

from urllib.parse import parse_qsl


def app(environ, start_response):
    (_, status), *headers = parse_qsl(environ["QUERY_STRING"], keep_blank_values=True)
    start_response(status, headers)
    return [part.encode() for part in environ["PATH_INFO"].split("/")[1:]]
