"""Requests and their verdicts, for verdicts.py: TABLES[group] = (template, half_close, rows).

A row's bytes go into the group's template; with half_close the client ends its side after them. A
row is a verdicts.Row: verdict, clause, bytes, why, and what the last answer shows, what none shows.
"""

from typing import Any, Dict, Tuple

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"

# Every control character but HTAB, which is white space in a field value; LF and CR are among them.
CONTROLS = tuple(number for number in (*range(0x20), 0x7F) if number != 9)
NO_TOKEN = tuple(b'"(),/;<=>?@[\\]{}')

REQUEST_LINES = (
    ("200", "9112 3", b"GET / HTTP/1.1", "a request-line"),
    ("200", "9110 9.1", b"FROB / HTTP/1.1", "any method is the application's affair", b"REQUEST_METHOD='FROB'"),
    ("200", "9110 9.1", b"get / HTTP/1.1", "a method is case-sensitive", b"REQUEST_METHOD='get'"),
    ("200", "9110 5.6.2", b"!#$%&'*+-.^_`|~09azAZ / HTTP/1.1", "a method is any token"),
    ("200", "9110 2.5", b"GET / HTTP/1.2", "a higher minor version is served as 1.1", b"PROTOCOL='HTTP/1.1'"),
    ("200", "9110 2.5", b"GET / HTTP/1.9", "a higher minor version is served as 1.1", b"PROTOCOL='HTTP/1.1'"),
    ("200", "9112 2.3", b"GET / HTTP/1.0", "the older version", b"SERVER_PROTOCOL='HTTP/1.0'"),
    ("400", "9112 3", b"GET  / HTTP/1.1", "two spaces before the target"),
    ("400", "9112 3", b"GET /  HTTP/1.1", "two spaces after the target"),
    ("400", "9112 3|9112 2.3", b"GET / HTTP/1.1 ", "a space at the end"),
    ("400", "9112 3", b" GET / HTTP/1.1", "a space at the start"),
    ("400", "9112 3", b"GET\t/ HTTP/1.1", "a tab for the first space"),
    ("400", "9112 3", b"GET /\tHTTP/1.1", "a tab for the second space"),
    ("400", "9112 3", b"GET\xa0/ HTTP/1.1", "a no-break space for the first space"),
    ("400", "9112 3|9112 2.3", b"GET / HTTP/1.1\t", "a tab at the end"),
    ("400", "9112 3", b"GET", "a method alone"),
    ("400", "9112 3", b"GET /", "HTTP/0.9"),
    ("400", "9112 3", b"GET HTTP/1.1", "no target"),
    ("400", "9112 3", b"/ HTTP/1.1", "no method"),
    ("400", "9112 3", b"GET / x HTTP/1.1", "a space in the target"),
    ("400", "9112 3|9112 2.3", b"GET / HTTP/1.1 HTTP/1.1", "two versions"),
    ("505", "9110 15.6.6|9112 2.3", b"GET / HTTP/0.9", "an older major version"),
    ("505", "9110 15.6.6|9112 2.3", b"GET / HTTP/2.0", "a newer major version"),
    ("505", "9110 15.6.6|9112 2.3", b"GET / HTTP/3.1", "a newer major version"),
    ("505", "9110 15.6.6|9112 2.3", b"GET / HTTP/9.9", "a newer major version"),
    ("400", "9112 2.3|9112 3", b"GET / http/1.1", "a version in lower case"),
    ("400", "9112 2.3|9112 3", b"GET / Http/1.1", "a version in lower case"),
    ("400|505", "9112 2.3|9112 3|9110 15.6.6", b"GET / HTTP/10.1", "two digits"),
    ("400|505", "9112 2.3|9112 3|9110 15.6.6", b"GET / HTTP/01.1", "two digits"),
    ("400|505", "9112 2.3|9112 3|9110 15.6.6", b"GET / HTTP/2", "no minor version"),
    *(
        ("400", "9112 2.3|9112 3", b"GET / " + version, "a version is HTTP/1.1, no more and no less")
        for version in (
            b"HTTP/1.10 HTTP/1 HTTP/1. HTTP/.1 HTTP/11 HTTP/1,1 HTTP/+1.1 HTTP/1.+1 HTTP/1.1x HTTP/1.a HTTP/x.y"
            b" HTP/1.1 HTTP1.1 HTTP//1.1 XHTTP/1.1 HTTPS/1.1 ICY/1.1 HTTP/1.\xb9 HTTP/\xb9.1 HTTP/1.1; HTTP"
        ).split()
    ),
    *(
        ("400", "9112 3|9110 9.1|9110 5.6.2", b"G%cT / HTTP/1.1" % number, f"{number:#04x} in a method")
        for number in (*NO_TOKEN, ord(":"), 0x80, 0xE9, 0xFF)
    ),
    *(
        ("400", "9112 2.2|9112 3|9110 5.5|9110 9.1", b"G%cT / HTTP/1.1" % number, f"{number:#04x} in a method")
        for number in CONTROLS
    ),
    *(
        ("400", "9112 2.2|9112 3|9110 5.5", b"GET /a%cb HTTP/1.1" % number, f"{number:#04x} in a target")
        for number in CONTROLS
    ),
    *(
        ("400", "9112 2.2|9112 3|9110 5.5", b"GET / HTTP/1.%c1" % number, f"{number:#04x} in a version")
        for number in CONTROLS
    ),
    *(
        ("400", "9112 3.2", b"GET /a%cb HTTP/1.1" % number, f"{number:#04x} in a target")
        for number in (0x80, 0x85, 0xA0, 0xC3, 0xFF)
    ),
    ("400", "9112 3.2", b"GET /?a=\xc3\xa9 HTTP/1.1", "UTF-8 in a query"),
    ("400", "9112 3.2", b"GET /#top HTTP/1.1", "a fragment"),
    ("400", "9112 3.2", b"GET /?a#top HTTP/1.1", "a fragment after a query"),
    ("400", "9112 3.2", b"GET http://a/#top HTTP/1.1", "a fragment in an absolute-form"),
)

BLANKS = (
    ("200", "9112 2.2", b"\r\n", "an empty line before the request-line"),
    ("200", "9112 2.2", b"\r\n\r\n", "two empty lines"),
    ("400", "9112 2.2|9112 3", b"\r\n" * 20, "no end of empty lines"),
    ("400", "9112 2.2|9112 3", b"\n", "an empty line that ends in a bare LF"),
    ("400", "9112 2.2|9112 3", b"\r\n\n", "the second ends in a bare LF"),
    ("400", "9112 2.2|9112 3", b"\r", "a bare CR"),
    ("400", "9112 2.2|9112 3", b"\r\r\n", "a bare CR"),
    ("400", "9112 2.2|9112 3", b" \r\n", "a line of white space"),
    ("400", "9112 2.2|9112 3|9110 5.5", b"\0", "a NUL"),
    ("400", "9112 2.2|9112 3", b"\xef\xbb\xbf", "a byte order mark"),
)

TARGETS = (
    ("200", "9112 3.2.1", b"GET /a/b?c=d&e", "the origin-form", b"PATH_INFO='/a/b'\nQUERY_STRING='c=d&e'"),
    ("200", "9112 3.2.1", b"GET /?", "an empty query", b"PATH_INFO='/'\nQUERY_STRING=''"),
    ("200", "9112 3.2.1", b"GET /?a?b/c", "a query with ? and /", b"QUERY_STRING='a?b/c'"),
    ("200", "9112 3.2.1", b"GET //a//b", "empty segments stay", b"PATH_INFO='//a//b'"),
    ("200", "9112 3.2.1", b"GET /a/../b/./c", "dot segments stay", b"PATH_INFO='/a/../b/./c'"),
    ("200", "9112 3.2.1", b"GET /http://b/c", "an origin-form that looks like an absolute one", b"HTTP_HOST='a'"),
    ("200", "9112 3.2.1", b"GET /%41%2f%25%7e", "escapes are decoded once", b"PATH_INFO='/A/%~'"),
    ("200", "9112 3.2.1", b"GET /%2541", "escapes are decoded once", b"PATH_INFO='/%41'"),
    ("200", "9112 3.2.1", b"GET /%c3%A9", "8-bit characters come escaped", b"PATH_INFO='/\\xc3\\xa9'"),
    ("200", "9112 3.2.1", b"GET /%3F?%3F", "an escaped ? ends no path", b"PATH_INFO='/?'\nQUERY_STRING='%3F'"),
    ("400", "3986 2.1", b"GET /%4", "half an escape"),
    ("400", "3986 2.1", b"GET /%", "a bare %"),
    ("400", "3986 2.1", b"GET /%zz/", "an escape of other letters"),
    ("400", "3986 2.1", b"GET /%+1/", "a sign that int() takes"),
    ("400", "9112 3.2", b"GET a", "a path without a slash"),
    ("400", "9112 3.2", b"GET ?a", "a query without a path"),
    ("400", "9112 3.2", b"GET a/b", "a path without a slash"),
    ("400", "9112 3.2", b"GET \\a", "a backslash for a slash"),
    ("400", "9112 3.2", b"GET *", "the asterisk-form is for OPTIONS"),
    ("400", "9112 3.2", b"HEADER *", "the asterisk-form is for OPTIONS"),
    ("400", "9112 3.2", b"options *", "the asterisk-form is for OPTIONS, which is case-sensitive"),
    ("400", "9112 3.2", b"OPTIONS **", "no asterisk-form"),
    ("400", "9112 3.2", b"OPTIONS *?a", "no asterisk-form"),
    ("200", "9112 3.2.4", b"OPTIONS *", "the asterisk-form", b"REQUEST_URI='*'"),
    ("200", "9112 3.2.1", b"OPTIONS /", "OPTIONS of one resource", b"PATH_INFO='/'"),
    ("200", "9112 3.2.2", b"GET http://b/c?d", "the absolute-form", b"PATH_INFO='/c'\nQUERY_STRING='d'"),
    ("200", "9112 3.2.2", b"GET http://b/c", "its authority replaces Host", b"HTTP_HOST='b'"),
    ("200", "9112 3.2.2", b"GET http://b:81/c", "its authority replaces Host", b"HTTP_HOST='b:81'"),
    ("200", "9112 3.2.2", b"GET http://b", "an absolute-form without a path", b"PATH_INFO='/'"),
    ("200", "9112 3.2.2", b"GET http://b?c", "without a path", b"PATH_INFO='/'\nQUERY_STRING='c'"),
    ("200", "9110 4.2.3", b"GET HTTP://b/", "a scheme in capitals", b"HTTP_HOST='b'"),
    ("200", "9112 3.2.2", b"GET http://[::1]:81/", "an IPv6 literal", b"HTTP_HOST='[::1]:81'"),
    ("200", "9112 3.2.2", b"OPTIONS http://b/c", "any method", b"PATH_INFO='/c'"),
    ("400", "9110 4.2.1|9112 3.2", b"GET http:///c", "an empty host"),
    ("400", "9110 4.2.1|9112 3.2", b"GET http://:80/c", "an empty host"),
    ("400", "9110 4.2.1|9112 3.2", b"GET http://", "an empty host"),
    ("400", "9110 4.2.4|9112 3.2", b"GET http://u@b/c", "userinfo"),
    ("400", "9110 4.2.4|9112 3.2", b"GET http://u:p@b/c", "userinfo"),
    ("400", "9112 3.2", b"GET http:/b/c", "one slash"),
    ("400", "9112 3.2", b"GET http:c", "no slash"),
    ("400", "9112 3.2", b"GET ://b/c", "no scheme"),
    ("400", "9112 3.2", b"GET http://b:x/c", "a port that is no number"),
    ("400", "9112 3.2", b"GET http://b:80:80/c", "two ports"),
    ("400", "9112 3.2", b"GET http://[::1/c", "half an IPv6 literal"),
    ("400", "9112 3.2", b"GET http://[::1]b/c", "an IPv6 literal and more"),
    ("400", "9112 3.2", b"GET http://b\\c/d", "a backslash in the authority"),
    ("400|421", "9112 3.2|9110 7.4", b"GET ftp://b/c", "another scheme"),
    ("400|421", "9110 7.4|9112 3.2", b"GET https://b/c", "https on a connection that is not secured"),
    ("501|400", "9110 9.3.6", b"CONNECT b:80", "no tunnel"),
    ("501|400", "9110 9.3.6", b"CONNECT [::1]:80", "no tunnel"),
    ("400", "9110 9.3.6|9112 3.2", b"CONNECT b", "an authority-form without a port"),
    ("400", "9110 9.3.6|9112 3.2", b"CONNECT b:", "an authority-form with an empty port"),
    ("400", "9110 9.3.6|9112 3.2", b"CONNECT :80", "an authority-form without a host"),
    ("400", "9110 9.3.6|9112 3.2", b"CONNECT u@b:80", "an authority-form with userinfo"),
    ("400", "9110 9.3.6|9112 3.2", b"CONNECT b:80/", "an authority-form with a path"),
    ("400", "9110 9.3.6|9112 3.2", b"CONNECT /", "the origin-form for CONNECT"),
    ("400", "9110 9.3.6|9112 3.2", b"CONNECT *", "the asterisk-form for CONNECT"),
    ("400", "9110 9.3.6|9112 3.2", b"CONNECT http://b:80/", "the absolute-form for CONNECT"),
    ("400", "9112 3.2", b"GET b:80", "the authority-form for GET"),
)

HOSTS = (
    *(
        ("200", "9110 7.2", b"Host: " + host, "a host by its grammar", b"HTTP_HOST='%b'" % host)
        for host in (
            b"a a.example a:80 a: 127.0.0.1 127.0.0.1:8888 a-b.c_d~e a%41b a!$&()*+,;=b [::1] [::1]:80 [::1]:"
            b" [2001:db8::1] [::ffff:1.2.3.4] [1:2:3:4:5:6:7:8] [::] [FE80::A]"
        ).split()
    ),
    ("200", "9110 5.1", b"hOST: a", "a name in any case", b"HTTP_HOST='a'"),
    ("200", "9112 5.1", b"Host:a", "no white space", b"HTTP_HOST='a'"),
    ("200", "9112 5.1", b"Host: \t a\t ", "white space on both sides", b"HTTP_HOST='a'"),
    ("400", "9112 3.2|9110 7.2", b"X: y", "no Host"),
    ("200", "9112 3.2", b"Host: ", "an empty Host: the target has no authority"),
    ("400", "9112 3.2|9110 7.2|9110 5.3", b"Host: a\r\nHost: a", "Host twice, the same"),
    ("400", "9112 3.2|9110 7.2|9110 5.3", b"Host: a\r\nHost: b", "Host twice"),
    ("400", "9112 3.2|9110 7.2|9110 5.3", b"Host: a\r\nX: y\r\nHOST: b", "Host twice, in another case"),
    ("400", "9112 3.2|9110 7.2|9110 5.3", b"Host: \r\nHost: a", "an empty Host and another"),
    ("400", "9112 5.1", b"Host : a", "a space before the colon"),
    *(
        ("400", "9112 3.2|9110 7.2", b"Host: " + host, "no host by its grammar")
        for host in (
            b"a b|a, b|a/b|a?b|a#b|a\\b|u@a|u:p@a|http://a|a:b|a:80:80|a:-1|a:+80|a: 80|:80|a:80/|a\xe9|\xa0a|a\x85|<a>|"
            b'"a"|a^b|{a}|a`b|a%|a%4|a%zz|::1|[::1|::1]|[::1]80|[::1]:x|[[::1]]|x[::1]|[]|[:]|[.]|[1]|[g::1]|[::1::]|'
            b"[1:2:3:4:5:6:7]|[1:2:3:4:5:6:7:8:9]|[12345::]|[:::]|[1.2.3.4]|[::1.2.3]|[::1.2.3.256]|[:1:2:3:4:5:6:7:8]"
        ).split(b"|")
    ),
)

HOSTS_10 = (
    ("200", "9112 3.2", b"X: y", "HTTP/1.0 needs no Host"),
    ("200", "9112 3.2", b"Host: a", "HTTP/1.0 may have a Host", b"HTTP_HOST='a'"),
    ("400", "9112 3.2|9110 5.3", b"Host: a\r\nHost: b", "Host twice in HTTP/1.0"),
    ("400", "9112 3.2", b"Host: a b", "no host by its grammar in HTTP/1.0"),
)

ABSOLUTE_HOSTS = (
    ("400", "9112 3.2", b"X: y", "Host is missing beside the absolute-form"),
    ("400", "9112 3.2", b"Host: a b", "Host is invalid beside the absolute-form"),
    ("400", "9112 3.2|9110 5.3", b"Host: b\r\nHost: b", "Host stands twice beside the absolute-form"),
    ("200", "9112 3.2.2", b"Host: a", "the authority of the target counts", b"HTTP_HOST='b'"),
)

FIELDS = (
    ("200", "9112 5", b"X: y", "a field line", b"HTTP_X='y'"),
    ("200", "9112 5", b"X:", "an empty value", b"HTTP_X=''"),
    ("200", "9112 5", b"X: \t ", "a value of white space", b"HTTP_X=''"),
    ("200", "9112 5.1", b"X:\t y \tz\t ", "white space is trimmed, and kept inside", b"HTTP_X='y \\tz'"),
    ("200", "9112 5.1", b"X: \xa0y\x85", "white space is SP and HTAB alone", b"HTTP_X='\\xa0y\\x85'"),
    ("200", "9110 5.5", bytes([*b"X: ", *range(0x80, 0x100)]), "obs-text is kept", b"HTTP_X='\\x80\\x81"),
    ("200", "9112 5", b"X: a:b: c", "a colon in a value", b"HTTP_X='a:b: c'"),
    ("200", "9112 5", b"X: GET / HTTP/1.1", "a value like a request-line", b"HTTP_X='GET / HTTP/1.1'"),
    ("200", "9110 5.6.2", b"!#$%&'*+-.^`|~09azAZ: y", "a name is any token", b"HTTP_!#$%&'*+_.^`|~09AZAZ='y'"),
    ("400", "9112 5", b"X", "no colon"),
    ("400", "9112 5", b": y", "no name"),
    ("400", "9112 5", b"X y", "no colon"),
    ("400", "9112 5", b"X Y: z", "a space in a name"),
    ("400", "9112 5", b"X\tY: z", "a tab in a name"),
    ("400", "9112 5.1", b"X : y", "a space before the colon"),
    ("400", "9112 5.1", b"X\t: y", "a tab before the colon"),
    ("400", "9112 5.1", b"Content-Length : 5", "a space before the colon"),
    ("400", "9112 5.1", b"Transfer-Encoding : chunked", "a space before the colon"),
    ("400", "9112 5.2", b"X: y\r\n z", "a folded line"),
    ("400", "9112 5.2", b"X: y\r\n\tz", "a line folded by a tab"),
    ("400", "9112 5.2", b"X: y\r\n z: a", "a folded line that looks like a field"),
    ("400", "9112 5.2", b"X: y\r\n  ", "a folded line without a word"),
    ("400", "9112 5.2", b"X:\r\n y", "a folded line after an empty one"),
    ("400", "9112 2.2", b"X: y\nY: z", "a bare LF"),
    ("400", "9112 2.2", b"X: y\rY: z", "a bare CR"),
    ("400", "9112 2.2", b"X: y\r", "CR CR LF"),
    ("400", "9112 2.2", b"X: y\n", "LF CR LF"),
    ("400", "9112 2.2", b"X: y\n\nY: z", "an end of the head in bare LFs"),
    ("400", "9112 2.2", b"X: y\n\r\nY: z", "an end of the head in LF and CRLF"),
    ("400", "9112 2.2", b"X: y\r\n\nY: z", "an end of the head in CRLF and LF"),
    ("400", "9112 2.2", b"X: y\r\rY: z", "an end of the head in bare CRs"),
    *(
        ("400", "9112 5|9110 5.1|9110 5.6.2", b"X%cY: z" % number, f"{number:#04x} in a name")
        for number in (*NO_TOKEN, 0x80, 0xA0, 0xE9, 0xFF)
    ),
    *(
        ("400", "9112 5|9112 2.2|9110 5", b"X%cY: z" % number, f"{number:#04x} in a name")
        for number in CONTROLS
    ),
    *(
        ("400", "9112 2.2|9110 5.5", b"X: y%cz" % number, f"{number:#04x} in a value")
        for number in CONTROLS
    ),
    *(
        ("400", "9112 2.2|9110 5.5", b"X: %cy" % number, f"{number:#04x} before a value")
        for number in (0x0B, 0x0C, 0x1C, 0x1F)
    ),
)

# The section begins with the first of these.
FIRST_FIELDS = (
    ("400", "9112 2.2|9112 5.2", b" Host: a", "white space between request-line and first field"),
    ("400", "9112 2.2|9112 5.2", b"\tHost: a", "white space between request-line and first field"),
    ("400", "9112 2.2|9112 5.2", b" \r\nHost: a", "a line of white space before the first field"),
    ("400", "9112 2.2", b"\nHost: a", "a bare LF before the first field"),
)

REPEATED = (
    ("200", "9110 5.3", b"X: a\r\nY: b\r\nX: c", "repeated fields are joined in order", b"HTTP_X='a, c'"),
    ("200", "9110 5.3", b"X: b\r\nx: a\r\nX: b", "in any case, none lost", b"HTTP_X='b, a, b'"),
    ("200", "9113 8.2.3", b"Cookie: a=1\r\nCookie: b=2", "Cookie is joined by a semicolon", b"HTTP_COOKIE='a=1; b=2'"),
    ("400", "9110 5.3", b"Content-Type: a/b\r\nContent-Type: a/c", "Content-Type twice"),
    ("400", "9110 5.3", b"Authorization: Basic YQ==\r\nAuthorization: Basic Yg==", "Authorization twice"),
    ("400", "9110 5.3|9112 6|9110 8.6", b"Content-Length: 0\r\nContent-Length: 0", "Content-Length twice, the same"),
    ("400", "9110 5.3|9112 6|9110 8.6", b"Content-Length: 0\r\ncontent-length: 5", "Content-Length twice"),
    ("400", "9110 5.3|9112 6", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "the coding twice"),
)

NAMES = (
    ("200", "9110 5.1", b"X_Forwarded_For: evil", "an underscore", b"", b"evil"),
    ("200", "9110 5.1", b"X-Auth_User: evil", "an underscore and a hyphen", b"", b"evil"),
    ("200", "9110 5.1", b"X-For: me\r\nX_For: evil", "an underscore beside a hyphen", b"HTTP_X_FOR='me'", b"evil"),
    ("200", "9110 5.1", b"X_For: evil\r\nX-For: me", "an underscore before a hyphen", b"HTTP_X_FOR='me'", b"evil"),
    ("200", "9110 5.1", b"Content_Type: evil", "Content-Type with an underscore", b"", b"evil"),
    ("200", "9110 5.1", b"HTTP_HOST: evil", "the environ's own name", b"HTTP_HOST='a'", b"evil"),
    ("200", "9110 5.1", b"Proxy: evil", "httpoxy", b"", b"evil"),
    ("200", "9110 5.1", b"PROXY: evil\r\nproxy: evil", "httpoxy", b"", b"HTTP_PROXY"),
    ("200", "3875 4.1.3", b"Content-Type: a/b", "not HTTP_CONTENT_TYPE", b"\nCONTENT_TYPE='a/b'", b"HTTP_CONTENT"),
    ("200", "3875 4.1.2", b"Content-Length: 0", "not HTTP_CONTENT_LENGTH", b"\nCONTENT_LENGTH='0'", b"HTTP_CONTENT"),
)

# An underscore decides nothing: what follows the head is the next request.
UNDERSCORES = (
    ("200 400", "9112 3", b"Content_Length: 5", "no Content-Length"),
    ("200 400", "9112 3", b"Transfer_Encoding: chunked", "no Transfer-Encoding"),
)

LENGTHS = (
    ("200", "9110 8.6", b"Content-Length: 5", "a length", b"body=b'hello'"),
    ("200", "9110 8.6", b"content-length:\t5 ", "a length among white space", b"body=b'hello'"),
    ("200", "9110 8.6", b"Content-Length: 005", "zeros before a length", b"body=b'hello'"),
    *(
        ("400", "9110 8.6|9112 6", b"Content-Length: " + length, "digits alone")
        for length in (
            b"|+5|-5|-0|5 5|5,5|5, 5|, 5|5,|5;|5.0|5.|1_0|0_5|5e0|0x5|0b101|5h|five|\xb2|\xb5|5\xa0|\xa05|\x855|\xd9\xa5|"
            b'\xef\xbc\x95|"5"|(5)|5\t5|5, 6|chunked|5 chunked|NaN|infinity|5L|5\x005|0x|--5|++5|5-|5/1|%35'
        ).split(b"|")
        if b"\0" not in length
    ),
    ("400", "9110 5.5|9110 8.6", b"Content-Length: 5\x0b", "a vertical tab after the digits"),
    ("400", "9110 5.5|9110 8.6", b"Content-Length: \x0c5", "a form feed before the digits"),
    ("400", "9110 5.5|9110 8.6", b"Content-Length: 5\0", "a NUL after the digits"),
    ("400", "9110 5.3|9110 8.6|9112 6", b"Content-Length: 5\r\nContent-Length: 5", "two, the same"),
    ("400", "9110 5.3|9110 8.6|9112 6", b"Content-Length: 5\r\nContent-Length: 6", "two"),
    ("400", "9110 5.3|9110 8.6|9112 6", b"Content-Length: 5\r\nContent-Length:", "two, one empty"),
    ("400", "9110 5.3|9110 8.6|9112 6", b"Content-Length:\r\nContent-Length: 5", "two, one empty"),
    ("400", "9112 5.2", b"Content-Length:\r\n 5", "a folded length"),
    ("413", "9110 15.5.14", b"Content-Length: 99999999999", "more than any body may have"),
    ("413", "9110 15.5.14", b"Content-Length: 18446744073709551621", "5 and 2 ** 64"),
    ("413", "9110 15.5.14", b"Content-Length: " + b"9" * 16000, "as many digits as a line holds"),
    ("431", "6585 5", b"Content-Length: " + b"9" * 60000, "more digits than a line holds"),
)

CODINGS = (
    ("200", "9112 7.1", b"Transfer-Encoding: chunked", "the one coding", b"body=b'hello'"),
    ("200", "9112 7", b"TRANSFER-ENCODING:CHUNKED", "in any case", b"body=b'hello'"),
    ("200", "9112 7", b"Transfer-Encoding: \t cHuNkEd\t ", "among white space", b"body=b'hello'"),
    ("200", "9112 6.3", b"Transfer-Encoding: chunked", "its length is known", b"\nCONTENT_LENGTH='5'"),
    ("200", "9112 7.1.3", b"Transfer-Encoding: chunked", "what is decoded is not told", b"", b"HTTP_TRANSFER"),
    ("200", "9110 5.1", b"Transfer-Encoding: chunked\r\nContent_Length: 3", "an underscore", b"body=b'hello'"),
    *(
        ("501|400", "9112 6|9112 7|9110 15.6.2", b"Transfer-Encoding: " + coding, "another coding")
        for coding in (
            b"gzip|identity|deflate|compress|x-gzip|xchunked|chunkedx|chunked x|x chunked|chunked;a=b|chunked;|chunk|"
            b'"chunked"|chunked\xa0|\xa0chunked|chunked\x85|chun\xe2\x84\xaaed|gzip, chunked|chunked, gzip|chunked,identity|'
            b"identity, chunked|gzip;q=1|chunked/|-chunked|chunke d|cow"
        ).split(b"|")
    ),
    *(
        ("400", "9112 6|9112 7", b"Transfer-Encoding: " + coding, "chunked, once")
        for coding in (b"", b",", b"chunked,", b",chunked", b", chunked", b"chunked,chunked", b"chunked , Chunked")
    ),
    ("400", "9110 5.5|9112 6", b"Transfer-Encoding: \x0bchunked", "a vertical tab"),
    ("400", "9110 5.5|9112 6", b"Transfer-Encoding: chunked\x0c", "a form feed"),
    ("400", "9110 5.5|9112 6", b"Transfer-Encoding: chunked\0", "a NUL"),
    ("400", "9110 5.3|9112 6", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "two, the same"),
    ("400|501", "9110 5.3|9112 6", b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", "two"),
    ("400|501", "9110 5.3|9112 6", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "two"),
    ("400|501", "9110 5.3|9112 6", b"Transfer-Encoding: chunked\r\nTransfer-Encoding:", "two, one empty"),
    ("400", "9112 6.3|9112 6.1", b"Transfer-Encoding: chunked\r\nContent-Length: 5", "two lengths"),
    ("400", "9112 6.3|9112 6.1", b"Content-Length: 5\r\nTransfer-Encoding: chunked", "two lengths"),
    ("400", "9112 6.3|9112 6.1", b"Content-Length: 0\r\nTransfer-Encoding: chunked", "two lengths, one of nothing"),
    ("400|501", "9112 6", b"Content-Length: 5\r\nTransfer-Encoding: gzip", "a length and another coding"),
    ("400|501", "9112 6", b"Content-Length: 5\r\nTransfer-Encoding: identity", "a length and another coding"),
    ("400", "9112 5.1", b"Transfer-Encoding : chunked", "a space before the colon"),
    ("400", "9112 5.2", b"Transfer-Encoding:\r\n chunked", "a folded line"),
    ("400", "9112 2.2", b"Transfer-Encoding:\nchunked", "a bare LF"),
    ("400", "9112 2.2", b"X: y\nTransfer-Encoding: chunked", "a bare LF"),
)

VERSIONED_CODINGS = (
    ("400", "9112 6.1", b"HTTP/1.0", "HTTP/1.0 has no transfer codings"),
    ("200", "9112 7.1", b"HTTP/1.1", "HTTP/1.1 has", b"body=b'hello'"),
    ("200", "9112 7.1", b"HTTP/1.2", "and so has a later one", b"body=b'hello'"),
)

CHUNK_LINES = (
    *(
        ("200", "9112 7.1", line, "a chunk-size with its extensions", b"body=b'hello'")
        for line in (
            b"5",
            b"05",
            b"0000000005",
            b"5;a",
            b"5;a=b",
            b"5;a=b;c;d=e",
            b'5;a="b"',
            b'5;a=""',
            b'5;a="b;c=d"',
            b'5;a="b \t\\"c\\\\"',
            b'5;a="\x80\xff"',
            b"5 ; a = b",
            b"5\t;\ta",
        )
    ),
    *(
        ("400", "9112 7.1", line, "no chunk-size with its extensions")
        for line in (
            b"",
            b" 5",
            b"5 ",
            b"5\t",
            b"\t5",
            b"+5",
            b"-5",
            b"0x5",
            b"0X5",
            b"5h",
            b"5g",
            b"5_0",
            b"0_5",
            b"5.0",
            b"5,5",
            b"5 5",
            b"\xb2",
            b"\xa05",
            b"5\xa0",
            b"\xef\xbc\x95",
            b"5\0",
            b"\x0b5",
            b"5\x0c",
            b'"5"',
            b"five",
            b";a",
            b"5;",
            b"5; ",
            b"5;;a",
            b"5;a;",
            b"5;=b",
            b"5;a=",
            b"5;a b",
            b"5;a=b c",
            b"5;a=b=c",
            b"5;a=b,c",
            b'5;a="b',
            b'5;a=b"',
            b'5;a="b"c',
            b'5;a="b\\"',
            b'5;a="\0"',
            b'5;a="\x7f"',
            b'5;a="\\\x01"',
            b"5;a=\x01",
            b"5;a=\xe9",
            b"5;\x00",
            b"5;a\rb",
            b"5;a\nb",
            b'5;a="\n"',
            b'5;a="\r\n"',
            b"5\r",
            b"5\n",
            b"5\r\n",
        )
    ),
    ("400|413", "9112 7.1|9110 15.5.14", b"10000000000000005", "more digits than a number has: 5 and 2 ** 64"),
    ("400|413", "9112 7.1|9110 15.5.14", b"F" * 200, "more digits than a number has"),
    ("413", "9110 15.5.14|9112 7.1", b"FFFFFFFF", "more than any body may have"),
    ("400|413|431", "9112 7.1|9110 15.5.14", b"0" * 70000 + b"5", "no end of zeros"),
    ("400|413|431", "9112 7.1|6585 5", b"5;a=" + b"b" * 70000, "no end of an extension"),
    ("400|413|431", "9112 7.1|6585 5", b"5" + b";a" * 40000, "no end of extensions"),
)

CHUNKS = (
    ("200", "9112 7.1", b"0\r\n\r\n", "no data", b"body=b''"),
    ("200", "9112 7.1", b"000\r\n\r\n", "a last-chunk of zeros", b"body=b''"),
    ("200", "9112 7.1", b"0;a=b\r\n\r\n", "a last-chunk with an extension", b"body=b''"),
    ("200", "9112 7.1", b"1\r\nh\r\n4\r\nello\r\n0\r\n\r\n", "two chunks", b"body=b'hello'"),
    ("200", "9112 7.1", b"A\r\n0123456789\r\n0\r\n\r\n", "a digit in capitals", b"body=b'0123456789'"),
    ("200", "9112 7.1", b"a\r\n0123456789\r\n0\r\n\r\n", "a small digit", b"body=b'0123456789'"),
    ("200", "9112 7.1", b"7\r\n0\r\n\r\nab\r\n0\r\n\r\n", "an end that is data", b"body=b'0\\r\\n\\r\\nab'"),
    ("400", "9112 7.1", b"5\r\nhello0\r\n\r\n", "no CRLF after the data"),
    ("400", "9112 7.1", b"5\r\nhello\n0\r\n\r\n", "a bare LF after the data"),
    ("400", "9112 7.1", b"5\r\nhello\r0\r\n\r\n", "a bare CR after the data"),
    ("400", "9112 7.1", b"5\r\nhello\r\r\n0\r\n\r\n", "CR CR LF after the data"),
    ("400", "9112 7.1", b"5\r\nhello\n\r0\r\n\r\n", "LF CR after the data"),
    ("400", "9112 7.1", b"5\r\nhelloXX0\r\n\r\n", "two other bytes after the data"),
    ("400", "9112 7.1", b"5\r\nhello\r\n\r\n0\r\n\r\n", "two CRLF after the data"),
    ("400", "9112 7.1", b"4\r\nhello\r\n0\r\n\r\n", "more data than announced"),
    ("400", "9112 7.1", b"6\r\nhello\r\n0\r\n\r\n", "less data than announced"),
    ("400", "9112 7.1", b"5\nhello\r\n0\r\n\r\n", "a bare LF after the size"),
    ("400", "9112 7.1", b"5\rhello\r\n0\r\n\r\n", "a bare CR after the size"),
    ("400", "9112 7.1", b"5\r\nhello\r\n0\n\r\n", "a bare LF after the last-chunk"),
    ("400", "9112 7.1|9112 2.2", b"5\r\nhello\r\n0\r\n\n", "a bare LF at the end"),
    ("400", "9112 7.1|9112 2.2", b"5\r\nhello\r\n0\r\n\rX\r\n\r\n", "a bare CR at the end"),
    ("400", "9112 7.1", b"-1\r\nhello\r\n0\r\n\r\n", "a size below zero"),
    ("400", "9112 7.1", b"\r\n5\r\nhello\r\n0\r\n\r\n", "an empty line before the size"),
    ("400", "9112 7.1", b"hello\r\n", "no chunk at all"),
)

TRAILERS = (
    ("200", "9112 7.1.2", b"X: evil\r\n", "a trailer is read, and not merged", b"body=b'hello'", b"evil"),
    ("200", "9112 7.1.2", b"X: evil\r\nY: evil\r\n", "two trailers", b"body=b'hello'", b"evil"),
    ("200", "9112 7.1.2", b"X:\r\n", "an empty one", b"body=b'hello'"),
    ("200", "9110 5.5", b"X: \x80\xff\r\n", "obs-text in a trailer", b"body=b'hello'"),
    ("200|400", "9110 6.5.1", b"Content-Length: 3\r\n", "a length in a trailer", b"", b"body=b'hel'"),
    ("200|400", "9110 6.5.1", b"Transfer-Encoding: gzip\r\n", "a coding in a trailer", b"", b"gzip\\"),
    ("200|400", "9110 6.5.1", b"Host: evil\r\n", "a Host in a trailer", b"", b"HTTP_HOST='evil'"),
    ("200|400", "9110 6.5.1", b"Authorization: evil\r\n", "a field that decides", b"", b"HTTP_AUTHORIZATION"),
    *(
        ("400", "9112 5|9112 7.1|9112 2.2|9110 5.5", line + b"\r\n", "a trailer is checked like a field")
        for line in (
            b"X",
            b": y",
            b"X : y",
            b"X\t: y",
            b" X: y",
            b"X y",
            b"X: y\r\n z",
            b"X: \0",
            b"X: \x7f",
            b"X: \x01",
            b"X: y\nY: z",
            b"X: y\rY: z",
            b"X: y\r",
            b"X(Y): z",
            b"\xe9: y",
            b"GET / HTTP/1.1",
        )
    ),
    ("431", "6585 5|9112 7.1|9110 6.5", b"X: y\r\n" * 1000, "no end of trailers"),
    ("431|400", "6585 5|9112 7.1|9110 6.5", b"X: " + b"y" * 70000 + b"\r\n", "no end of a trailer"),
)

# What has come and gone is never shown as whole: the client ends its side after these.
ENDS = (
    ("-", "9112 8", b"", "nothing at all"),
    ("-|400", "9112 8", b"GET / HTTP/1.1", "no end of the request-line"),
    ("-|400", "9112 8", b"GET / HTTP/1.1\r\n", "no field line"),
    ("-|400", "9112 8", b"GET / HTTP/1.1\r\nHost: a\r\n", "no end of the head"),
    ("-|400", "9112 8", b"GET / HTTP/1.1\r\nHost: a\r\n\r", "no last LF"),
    ("-|400", "9112 8", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", "no body"),
    ("-|400", "9112 8", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhell", "four of five bytes"),
    *(
        ("-|400", "9112 8", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body, why)
        for body, why in (
            (b"", "no chunk"),
            (b"5", "half a chunk-size"),
            (b"5\r\nhell", "half a chunk"),
            (b"5\r\nhello", "no CRLF after the chunk"),
            (b"5\r\nhello\r\n", "no last-chunk"),
            (b"5\r\nhello\r\n0", "half a last-chunk"),
            (b"5\r\nhello\r\n0\r\n", "no end of the trailer section"),
            (b"5\r\nhello\r\n0\r\n\r", "no last LF"),
            (b"5\r\nhello\r\n0\r\nX: y\r\n", "no end of the trailer section"),
        )
    ),
    ("200", "9112 9.6", GET, "a whole request is answered all the same"),
    ("200 200 200", "9112 9.3.2", GET * 3, "and so are three"),
    ("200", "9112 8", GET + b"GET / HT", "and the one before half a request"),
    ("200", "9112 8", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "", b"body=b'hello'"),
)

# Already wrong before they are whole, and refused at once, not when the time for a head has passed.
EARLY = (
    ("400", "9112 2.2", b"GET / HTTP/1.1\n", "a bare LF"),
    ("400", "9112 2.2", b"GET / HTTP/1.1\rX", "a bare CR"),
    ("400", "9112 2.2|9110 5.5|9112 3", b"GET / HTTP/1.1\r\nHost: a\0", "a NUL"),
    ("400", "9110 5.5", b"GET / HTTP/1.1\r\nHost: a\0\r", "a NUL, and half a line end: the NUL is the fault"),
    ("400", "9112 2.2|9110 5.5|9112 3", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)), "TLS"),
    ("400", "9112 2.2|9110 5.5|9112 3", b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10", "SSL 2"),
    ("400", "9112 2.2|9110 5.5|9112 3", bytes(range(256)) * 4, "every byte"),
    ("505|400", "9110 15.6.6|9112 2.3", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x12\4\0", "the preface of HTTP/2"),
    ("414", "9110 15.5.15|9112 3", b"GET /" + b"a" * 1000000, "a line of a megabyte"),
    ("414|400|501", "9110 15.5.15|9112 3", b"A" * 100000, "a method without end"),
    ("414", "9110 15.5.15|9112 3", b"GET / " + b"a" * 100000, "a version without end"),
    ("431", "6585 5|9110 5.4", b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 100000, "a section without end"),
    ("431", "6585 5|9110 5.4", b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 200000, "a field line without end"),
    ("413", "9110 15.5.14", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n", "a huge body"),
    ("413", "9110 15.5.14", b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n99999999\r\n", "a huge chunk"),
    ("400", "9112 7.1", b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\n", "a bare LF"),
    ("400", "9112 7.1", b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\naXX", "no CRLF"),
)

LIMITS = (
    ("200", "9112 3", b"GET /" + b"a" * 7980 + b" HTTP/1.1\r\nHost: a\r\n", "a request-line of 8000 bytes"),
    ("414", "9110 15.5.15", b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n", "a longer request-line"),
    ("414", "9110 15.5.15", b"GET /?" + b"a" * 60000 + b" HTTP/1.1\r\nHost: a\r\n", "a long query"),
    ("200", "9110 5.4", b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 100, "a hundred fields"),
    ("431", "6585 5", b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 200, "two hundred fields"),
    ("431", "6585 5", b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X:\r\n" * 5000, "five thousand fields"),
    ("200", "9110 5.4", b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 16000 + b"\r\n", "a field of 16000 bytes"),
    ("431", "6585 5", b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 17000 + b"\r\n", "a longer field"),
    ("431", "6585 5", b"GET / HTTP/1.1\r\nHost: a\r\n" + b"x" * 17000 + b": y\r\n", "a long name"),
    ("431", "6585 5", b"GET / HTTP/1.1\r\nHost: a\r\nX:" + b" " * 17000 + b"y\r\n", "a long white space"),
    ("200", "9110 5.4", b"GET / HTTP/1.1\r\nHost: a\r\n" + (b"X: " + b"y" * 15000 + b"\r\n") * 4, "60 kB of fields"),
    ("431", "6585 5", b"GET / HTTP/1.1\r\nHost: a\r\n" + (b"X: " + b"y" * 14000 + b"\r\n") * 5, "70 kB of fields"),
    ("431", "6585 5", b"GET / HTTP/1.1\r\nHost: a\r\n" + (b"X: " + b"y" * 1200 + b"\r\n") * 100, "120 kB of fields"),
)

# With --max-body 1000.
BODY_LIMITS = (
    ("200", "9110 8.6", b"Content-Length: 1000\r\n\r\n" + b"a" * 1000, "as much as allowed"),
    ("413", "9110 15.5.14", b"Content-Length: 1001\r\n\r\n" + b"a" * 1001, "a byte more"),
    ("413", "9110 15.5.14", b"Content-Length: 1001\r\n\r\n", "refused before it comes"),
    ("413", "9110 15.5.14", b"Content-Length: 1001\r\nExpect: 100-continue\r\n\r\n", "and not asked for"),
    ("413", "9110 15.5.14", b"Content-Length: 500000\r\n\r\n" + b"a" * 500000, "with an end that the client can read"),
    ("413", "9110 15.5.14", b"Content-Length: %d\r\n\r\n" % 10**30, "far more"),
    ("200", "9112 7.1", b"Transfer-Encoding: chunked\r\n\r\n" + b"1f4\r\n%b\r\n" % (b"a" * 500) * 2 + b"0\r\n\r\n", "chunks"),
    ("413", "9110 15.5.14", b"Transfer-Encoding: chunked\r\n\r\n3e9\r\n", "a chunk of a byte more"),
    ("413", "9110 15.5.14", b"Transfer-Encoding: chunked\r\n\r\n" + b"1f4\r\n%b\r\n" % (b"a" * 500) * 2 + b"1\r\n", "more"),
    ("413", "9110 15.5.14", b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 1001, "more, by single bytes"),
)

EXPECT = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
EXPECTATIONS = (
    ("100 200", "9110 10.1.1", (EXPECT + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n", b"hello"), "once"),
    ("100 200", "9110 10.1.1", (EXPECT + b"Content-Length: 5\r\nExpect: 100-Continue\r\n\r\n", b"he", b"l", b"lo"), "once"),
    (
        "100 200",
        "9110 10.1.1",
        (EXPECT + b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n", b"5\r\nhel", b"lo\r\n0", b"\r\n\r\n"),
        "once, for chunks",
    ),
    (
        "100 200 100 200",
        "9110 10.1.1",
        (
            b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
            b"hello",
            EXPECT + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n",
            b"again",
        ),
        "once a request",
        b"body=b'again'",
    ),
    ("200", "9110 10.1.1", (EXPECT + b"Content-Length: 5\r\n\r\n", b"hello"), "none unasked"),
    ("200", "9110 10.1.1", (EXPECT + b"Expect: 100-continue\r\n\r\n",), "none without a body"),
    ("200", "9110 10.1.1", (EXPECT + b"Content-Length: 0\r\nExpect: 100-continue\r\n\r\n",), "none for an empty body"),
    (
        "200",
        "9110 10.1.1",
        (EXPECT.replace(b"1.1", b"1.0") + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n", b"hello"),
        "none to HTTP/1.0",
        b"body=b'hello'",
    ),
    ("413", "9110 15.5.14", (EXPECT + b"Content-Length: 99999999999\r\nExpect: 100-continue\r\n\r\n",), "none before 413"),
    ("400", "9110 8.6", (EXPECT + b"Content-Length: five\r\nExpect: 100-continue\r\n\r\n",), "none before 400"),
    ("501|400", "9112 6|9110 15.6.2", (EXPECT + b"Transfer-Encoding: gzip\r\nExpect: 100-continue\r\n\r\n",), "nor 501"),
    ("417", "9110 10.1.1|9110 15.5.18", (EXPECT + b"Expect: a-miracle\r\n\r\n",), "another expectation"),
    ("417", "9110 10.1.1|9110 15.5.18", (EXPECT + b"Content-Length: 5\r\nExpect: 200-ok\r\n\r\n", b"hello"), "another"),
    ("417", "9110 10.1.1|9110 15.5.18", (EXPECT + b"Content-Length: 5\r\nExpect: 100-continue, x\r\n\r\n",), "one more"),
    ("417", "9110 10.1.1|9110 15.5.18", (EXPECT + b"Content-Length: 5\r\nExpect: 100-continue=x\r\n\r\n",), "a parameter"),
)

PIPELINES = (
    ("200 200", "9112 9.3.2", GET + LAST, "two", b"/last"),
    ("200 200 200", "9112 2.2", GET + b"\r\n" + GET + b"\r\n" + LAST, "empty lines between them", b"/last"),
    ("200 400", "9112 3.2", GET + b"GET / HTTP/1.1\r\n\r\n" + GET, "an error in the second, and a third"),
    ("200 400", "9112 2.2", GET + b"GET / HTTP/1.1\nHost: a\r\n\r\n", "an error in the second"),
    ("200 505", "9110 15.6.6", GET + b"GET / HTTP/2.0\r\nHost: a\r\n\r\n" + GET, "an error in the second"),
    ("200 501|400", "9112 6.1", GET + b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\n\r\n" + GET, "an error"),
    ("200 H400", "9112 3.2", GET + b"HEAD / HTTP/1.1\r\n\r\n" + GET, "an error in the second, which is HEAD"),
    ("200 400", "9112 7.1", GET + b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n" + GET, "chunk"),
    ("H200 200", "9110 9.3.2", b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" + LAST, "HEAD before another", b"/last"),
    (
        "200 200 H200 200 200",
        "9112 9.3.2",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" + GET + LAST,
        "bodies of both kinds",
        b"/last",
    ),
    ("200", "9112 9.6", LAST + GET, "nothing after Connection: close", b"/last"),
    ("200", "9112 9.6", LAST.replace(b"close", b"CLOSE") + GET, "close in any case", b"/last"),
    ("200", "9112 9.6", LAST.replace(b"close", b"x, Close ,y") + GET, "close in a list", b"/last"),
    ("200", "9112 9.6", LAST.replace(b"close", b"x\r\nConnection: close") + GET, "close in a second line", b"/last"),
    ("200", "9112 9.6", LAST.replace(b"close", b"keep-alive, close") + GET, "close beats keep-alive", b"/last"),
    ("200 200", "9112 9.3", GET.replace(b"Host: a", b"Host: a\r\nConnection: closed") + LAST, "another option"),
    ("200", "9112 9.3", b"GET / HTTP/1.0\r\n\r\n" + GET, "nothing after HTTP/1.0"),
    ("200", "9112 9.3", b"GET / HTTP/1.0\r\nConnection: close, keep-alive\r\n\r\n" + GET, "nor where close is said"),
    ("200 200", "9112 9.3", b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n" + LAST, "but where it asks to stay"),
    ("200 200", "9112 6.3", b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" + LAST, "a GET with a body"),
    ("200 200", "9112 6.3", b"DELETE / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" + LAST, "a DELETE too"),
    ("200 400", "9112 3", b"POST / HTTP/1.1\r\nHost: a\r\n\r\nhello\r\n\r\n" + GET, "without a length there is no body"),
    ("200 400", "9112 3", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nhello\r\n\r\n" + GET, "one too many"),
)

# What a body holds is never the next request, whether or not the application reads it: with seen:app and hello:app.
LEFTOVERS = (
    ("200 200", "9112 6.3", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(SMUGGLED), SMUGGLED), ""),
    ("200 200", "9112 6.3", b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(SMUGGLED), SMUGGLED), ""),
    (
        "200 200",
        "9112 6.3",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED),
        "",
    ),
    ("H200 200", "9110 9.3.2", b"HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n" + SMUGGLED[:20], "HEAD"),
    ("200 200", "9112 7.1.2", b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n\r\n", "trailers"),
    ("413", "9112 9.6|9110 15.5.14", b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n" + SMUGGLED, "413"),
    ("417", "9110 10.1.1", b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: x\r\n\r\n" + SMUGGLED, "417"),
    ("400", "9110 8.6|9112 6", b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n" + SMUGGLED, "400"),
    ("501|400", "9112 6|9112 7", b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\n\r\n" + SMUGGLED, "501"),
)

HEADS = (
    ("H200", "9110 9.3.2", b"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "HEAD"),
    ("H400", "9110 9.3.2|9112 3.2", b"HEAD / HTTP/1.1\r\n\r\n", "HEAD without a Host"),
    ("H400", "9110 9.3.2|9112 2.2", b"HEAD / HTTP/1.1\nHost: a\r\n\r\n", "HEAD with a bare LF"),
    ("H400", "9110 9.3.2|9112 2.2", b"\r\nHEAD / HTTP/1.1\nHost: a\r\n\r\n", "HEAD after an empty line"),
    ("H417", "9110 9.3.2|9110 10.1.1", b"HEAD / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n", "HEAD with an expectation"),
    ("H431", "9110 9.3.2|6585 5", b"HEAD / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 200 + b"\r\n", "HEAD with fields"),
    ("H414", "9110 9.3.2|9110 15.5.15", b"HEAD /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", "HEAD of a long target"),
)

CUTS = (
    ("200 200", "9112 2.1", GET + LAST, "two requests", b"/last"),
    ("200 200", "9112 2.2", b"\r\n" + GET + b"\r\n" + LAST, "empty lines", b"/last"),
    ("200 200", "9112 6.2", b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" + LAST, "a body", b"/last"),
    (
        "200",
        "9112 7.1",
        b'PUT / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5;a="b"\r\nhello\r\n0\r\nX: y\r\n\r\n',
        "chunks",
        b"body=b'hello'",
    ),
    ("200 400", "9112 2.2", GET + b"GET / HTTP/1.1\r\nHost: a\r\nX: y\nContent-Length: 5\r\n\r\n", "an error in the second"),
    ("400", "9112 6.3", b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "two lengths"),
    ("400", "9112 7.1", b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX\n0\r\n\r\n", "a bad chunk"),
    ("H400", "9112 2.2", b"HEAD / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", "HEAD with a bare LF"),
)

GUNICORN = (
    # CVE-2024-1135
    ("400|501", "9112 6|9110 5.3", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: cow", "CVE-2024-1135"),
    ("400|501", "9112 6|9110 5.3", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "CVE-2024-1135"),
    ("400|501", "9112 6", b"Transfer-Encoding: chunked, gzip", "CVE-2024-1135"),
    # CVE-2024-6827
    ("400|501", "9112 6|9112 7", b"Transfer-Encoding: xchunked\r\nContent-Length: 6", "CVE-2024-6827"),
    ("400|501", "9112 6|9112 7", b"Content-Length: 6\r\nTransfer-Encoding: chunked;q=1", "CVE-2024-6827"),
    ("400|501", "9112 6|9112 7", b"Content-Length: 6\r\nTransfer-Encoding: 'chunked'", "CVE-2024-6827"),
)

WAITRESS = (
    # CVE-2019-16785
    ("400", "9112 2.2", b"X-Header: x\nContent-Length: 0", "CVE-2019-16785"),
    ("400", "9112 2.2", b"X-Header: x\rContent-Length: 0", "CVE-2019-16785"),
    # CVE-2019-16786
    ("400|501", "9112 6|9112 7", b"Transfer-Encoding: gzip, chunked\r\nContent-Length: 6", "CVE-2019-16786"),
    # CVE-2019-16789
    ("400", "9110 5.5|9112 6", b"Transfer-Encoding: \x0bchunked", "CVE-2019-16789"),
    ("400", "9110 5.5|9112 6", b"Content-Length: 6\r\nTransfer-Encoding: \x0bchunked", "CVE-2019-16789"),
    ("400|501", "9112 6|9112 7", b"Transfer-Encoding: \x85chunked", "CVE-2019-16789"),
    # CVE-2019-16792, GHSA-4ppp-gpcr-7qf6
    ("400", "9112 6|9110 8.6|9110 5.3", b"Content-Length: 6\r\nContent-Length: 6", "CVE-2019-16792"),
    ("400", "9112 6|9110 8.6", b"Content-Length: 6, 6", "CVE-2019-16792"),
    ("400", "9112 6|9110 8.6", b"Content-Length: six", "CVE-2019-16792"),
    # GHSA-73m2-3pwg-5fgc: expressions that backtrack need years for these
    ("400", "9110 5.5", b"X: " + b"y" * 15000 + b"\0", "GHSA-73m2-3pwg-5fgc"),
    ("400", "9110 5.5", b"X: " + b"y " * 7500 + b"\x08", "GHSA-73m2-3pwg-5fgc"),
    ("400", "9110 5.5", b"X:" + b" \t" * 7500 + b"\x08", "GHSA-73m2-3pwg-5fgc"),
    ("400", "9112 5", b"X" * 15000 + b"\xff: y", "GHSA-73m2-3pwg-5fgc"),
    ("400", "9112 5", b"\r\n".join([b"X: " + b"y " * 300] * 90) + b"\r\nX y", "GHSA-73m2-3pwg-5fgc"),
    # CVE-2022-24761, GHSA-4f7p-27jc-3c36
    ("400", "9110 8.6", b"Content-Length: +10", "CVE-2022-24761"),
    ("400", "9110 8.6", b"Content-Length: 0x01", "CVE-2022-24761"),
    ("400", "9110 8.6", b"Content-Length: 1_0", "CVE-2022-24761"),
    ("400", "9112 7.1", b"Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n", "CVE-2022-24761"),
    ("400", "9112 7.1", b"Transfer-Encoding: chunked\r\n\r\n+1\r\na\r\n0\r\n", "CVE-2022-24761"),
    ("400", "9112 7.1", b"Transfer-Encoding: chunked\r\n\r\n1;\x00\r\na\r\n0\r\n", "CVE-2022-24761"),
    # GHSA-9298-4cf8-g4wj: what follows an invalid request is not served
    ("400", "9112 5", b"X y", "GHSA-9298-4cf8-g4wj"),
)

PUMA = (
    # CVE-2020-11076, CVE-2020-11077
    ("400|501", "9112 6|9112 7", b"Transfer-Encoding: xchunked\r\nContent-Length: 6", "CVE-2020-11076"),
    ("400", "9112 6|9110 5.3", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "CVE-2020-11077"),
    # CVE-2021-41136
    ("400", "9112 2.2", b"Header: a\nX: b", "CVE-2021-41136"),
    # CVE-2022-24790
    ("400", "9112 6|9112 7", b"Transfer-Encoding: ,chunked", "CVE-2022-24790"),
    ("400|501", "9112 6|9112 7", b"Transfer-Encoding: chunked, identity", "CVE-2022-24790"),
    ("400", "9112 5.2", b"Transfer-Encoding:\r\n chunked", "CVE-2022-24790"),
    ("400", "9110 8.6", b"Content-Length: 0x06", "CVE-2022-24790"),
    ("400", "9110 8.6", b"Content-Length: 6;", "CVE-2022-24790"),
    ("400", "9112 5.1", b"Content-Length : 6", "CVE-2022-24790"),
    ("400", "9112 7.1", b"Transfer-Encoding: chunked\r\n\r\n6 \r\nhello!\r\n0\r\n", "CVE-2022-24790"),
    ("400", "9112 7.1", b"Transfer-Encoding: chunked\r\n\r\n6\r\nhello!X\n0\r\n", "CVE-2022-24790"),
    # GHSA-68xg-gqqm-vgj8
    ("400", "9110 8.6", b"Content-Length:", "GHSA-68xg-gqqm-vgj8"),
    ("400", "9110 8.6", b"Content-Length: \t", "GHSA-68xg-gqqm-vgj8"),
    # GHSA-c2f4-cvqm-65w2
    ("400|413|431", "9112 7.1", b"Transfer-Encoding: chunked\r\n\r\n1;" + b"a" * 100000, "GHSA-c2f4-cvqm-65w2"),
)

# What may be served, with what the application then sees: whole requests.
PASSED_ON = (
    # CVE-2024-45614, puma
    (
        "200",
        "9110 5.1",
        b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1\r\nX_Forwarded_For: 6.6.6.6\r\nConnection: close\r\n\r\n",
        "CVE-2024-45614",
        b"HTTP_X_FORWARDED_FOR='1.1.1.1'",
        b"6.6.6.6",
    ),
    # CVE-2015-0219, bjoern
    (
        "200",
        "9110 5.1",
        b"GET / HTTP/1.1\r\nHost: a\r\nX-Auth_User: admin\r\nConnection: close\r\n\r\n",
        "CVE-2015-0219",
        b"",
        b"admin",
    ),
    # CVE-2016-1000110, CPython
    ("200", "9110 5.1", b"GET / HTTP/1.0\r\nProxy: http://evil\r\n\r\n", "CVE-2016-1000110", b"", b"evil"),
    # GHSA-68xg-gqqm-vgj8, puma: the trailers
    (
        "200",
        "9112 7.1.2",
        b"PUT / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Forwarded-For: evil\r\n\r\n",
        "GHSA-68xg-gqqm-vgj8",
        b"body=b''",
        b"evil",
    ),
    # CVE-2026-42544, granian
    (
        "200",
        "9110 5.5",
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: \x80\xff\r\nConnection: Upgrade, close\r\n\r\n",
        "CVE-2026-42544",
        b"HTTP_SEC_WEBSOCKET_PROTOCOL='\\x80\\xff'",
    ),
    # CVE-2021-28861, CPython: no client is sent elsewhere
    ("200", "9112 3.2.1", b"GET //evil.com/..%2f..%2f../dir HTTP/1.0\r\n\r\n", "CVE-2021-28861", b"'//evil.com/../../../dir'"),
    # CVE-2018-7490, uWSGI; CVE-2024-49766, werkzeug: a path names no file
    ("200", "9112 3.2.1", b"GET /..%2f..%2f..%2fetc/passwd HTTP/1.0\r\n\r\n", "CVE-2018-7490", b"'/../../../etc/passwd'", b"root:"),
    ("200", "9112 3.2.1", b"GET //server/share HTTP/1.0\r\n\r\n", "CVE-2024-49766", b"PATH_INFO='//server/share'"),
    # CVE-2018-6758, uWSGI
    ("200", "9112 3", b"GET " + b"/../a" * 1590 + b" HTTP/1.0\r\n\r\n", "CVE-2018-6758"),
    ("414", "9110 15.5.15", b"GET " + b"/../a" * 9000 + b" HTTP/1.0\r\n\r\n", "CVE-2018-6758"),
    # puma#3944
    ("400", "9112 2.3|9112 3", b"PROXY TCP4 6.6.6.6 1.1.1.1 1 80\r\n" + GET, "puma#3944"),
    ("200 400", "9112 2.3|9112 3", GET + b"PROXY TCP4 6.6.6.6 1.1.1.1 1 80\r\n" + GET, "puma#3944"),
    ("400", "9112 3|9112 2.2|9110 5.5", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + GET, "puma#3944, version 2 of the line"),
    # gh-150499, CPython
    (
        "200 200",
        "9112 6.3",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(SMUGGLED), SMUGGLED) + LAST,
        "gh-150499",
        b"/last",
    ),
    ("400", "9112 6.3", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX", "gh-150499"),
    # gh-119452, CPython
    ("413", "9110 15.5.14", b"POST / HTTP/1.0\r\nContent-Length: 99999999999\r\n\r\n", "gh-119452"),
    # CVE-2020-10735, CPython
    ("413", "9110 15.5.14", b"POST / HTTP/1.0\r\nContent-Length: " + b"9" * 16000 + b"\r\n\r\n", "CVE-2020-10735"),
    ("431", "6585 5", b"POST / HTTP/1.0\r\nContent-Length: " + b"9" * 10**6 + b"\r\n\r\n", "CVE-2020-10735"),
    (
        "400|413",
        "9112 7.1|9110 15.5.14",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"9" * 10**6 + b"\r\n\r\n",
        "CVE-2020-10735",
    ),
)

# gunicorn#3382: the client ends its side after these.
TRUNCATED = (
    ("-|400", "9112 8", b"5\r\nhello\r\n0\r\n", "gunicorn#3382"),
    ("-|400", "9112 8", b"5\r\nhello\r\n0", "gunicorn#3382"),
    ("-|400", "9112 8", b"5\r\nhello\r\n", "gunicorn#3382"),
)

FIELD_OF_GET = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n%b\r\n\r\n"
FIELD_OF_POST = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n%b\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"

TABLES: Dict[str, Tuple[bytes, bool, Tuple[Tuple[Any, ...], ...]]] = {
    "request-lines": (b"%b\r\nHost: a\r\nConnection: close\r\n\r\n", False, REQUEST_LINES),
    "blanks": (b"%b" + LAST, False, BLANKS),
    "targets": (b"%b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", False, TARGETS),
    "hosts": (b"GET / HTTP/1.1\r\n%b\r\nConnection: close\r\n\r\n", False, HOSTS),
    "hosts-of-1.0": (b"GET / HTTP/1.0\r\n%b\r\n\r\n", False, HOSTS_10),
    "hosts-of-absolute": (b"GET http://b/ HTTP/1.1\r\n%b\r\nConnection: close\r\n\r\n", False, ABSOLUTE_HOSTS),
    "fields": (FIELD_OF_GET, False, FIELDS),
    "first-fields": (b"GET / HTTP/1.1\r\n%b\r\nConnection: close\r\n\r\n", False, FIRST_FIELDS),
    "repeated": (FIELD_OF_GET, False, REPEATED),
    "names": (FIELD_OF_GET, False, NAMES),
    "underscores": (b"POST / HTTP/1.1\r\nHost: a\r\n%b\r\n\r\nhello\r\n\r\n" + GET, False, UNDERSCORES),
    "lengths": (FIELD_OF_POST + b"hello", False, LENGTHS),
    "codings": (FIELD_OF_POST + b"5\r\nhello\r\n0\r\n\r\n", False, CODINGS),
    "versions": (
        b"PUT / %b\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        False,
        VERSIONED_CODINGS,
    ),
    "chunk-lines": (CHUNKED + b"%b\r\nhello\r\n0\r\n\r\n", False, CHUNK_LINES),
    "chunks": (CHUNKED + b"%b", False, CHUNKS),
    "trailers": (CHUNKED + b"5\r\nhello\r\n0\r\n%b\r\n", False, TRAILERS),
    "ends": (b"%b", True, ENDS),
    "early": (b"%b", False, EARLY),
    "limits": (b"%bConnection: close\r\n\r\n", False, LIMITS),
    "body-limits": (b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n%b", False, BODY_LIMITS),
    "expectations": (b"%b", False, EXPECTATIONS),
    "pipelines": (b"%b", False, PIPELINES),
    "leftovers": (b"%b" + LAST, False, LEFTOVERS),
    "heads": (b"%b", False, HEADS),
    "cuts": (b"%b", False, CUTS),
    # Advisories. What would be smuggled follows.
    "gunicorn": (FIELD_OF_POST + b"0\r\n\r\n" + SMUGGLED, False, GUNICORN),
    "waitress": (FIELD_OF_POST + b"0\r\n\r\n" + SMUGGLED, False, WAITRESS),
    "puma": (FIELD_OF_POST + b"0\r\n\r\n" + SMUGGLED, False, PUMA),
    "passed-on": (b"%b", False, PASSED_ON),
    "truncated": (CHUNKED + b"%b", True, TRUNCATED),
}
