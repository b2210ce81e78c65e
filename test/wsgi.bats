#!/usr/bin/env bats
# PEP 3333, from the side of the application: what it is given, and what becomes of what it does.

# bats file_tags=every-mode
load test_helper

setup_file() {
    shares environ_repr:app starts:app closing:app reads_body:app bad_head:app as_asked:app broken:app hello:app
}

setup() {
    export LATCH="$BATS_TEST_TMPDIR/latch" FILE="$BATS_TEST_TMPDIR/file"
    mkfifo "$LATCH"
    answer="$BATS_TEST_TMPDIR/answer"
}

# get TARGET  asks for the target, on a connection of its own.
get() {
    exchange "GET $1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
}

shows() {
    grep -a -q -x -F -e "$1" <<<"$body" || { echo "$body" && return 1; }
}

# fails_plainly TARGET...  each gets 500 and nothing that the application said, and leaves something on stderr.
fails_plainly() {
    for target in "$@"; do
        : >"$stderr"
        get "$target"
        echo "$target: $head"
        status_is "500 Internal Server Error"
        [ "$(grep -c -i -E 'evil|odd|Traceback|purpose' "$answer")" -eq 0 ]
        [ "$(grep -c '^HTTP/' "$answer")" -eq 1 ]
        grep -q -F -e "GET $target" "$stderr"
    done
}

# Succeeds when the application printed this line, once.
printed_once() {
    eventually grep -q -x -e "$1" "$stdout"
    [ "$(grep -c -x -e "$1" "$stdout")" -eq 1 ]
}

# Sends a request on descriptor 6, with a response that is not read yet.
begin() {
    exec 6<>"/dev/tcp/127.0.0.1/$port"
    printf '%b' "$1" >&6
}

@test "gives the application the variables of CGI" {
    start_server environ_repr:app
    exchange 'POST /a/b?c=d&e HTTP/1.1\r\nHost: example.com:81\r\nContent-Type: text/x\r\nContent-Length: 2\r\nX-One: 1\r\nConnection: close\r\n\r\nhi'
    for line in "REQUEST_METHOD='POST'" "SCRIPT_NAME=''" "PATH_INFO='/a/b'" "QUERY_STRING='c=d&e'" \
        "CONTENT_TYPE='text/x'" "CONTENT_LENGTH='2'" "SERVER_NAME='127.0.0.1'" "SERVER_PORT='$port'" \
        "SERVER_PROTOCOL='HTTP/1.1'" "REMOTE_ADDR='127.0.0.1'" "HTTP_HOST='example.com:81'" "HTTP_X_ONE='1'"; do shows "$line"; done
    grep -q -x "REMOTE_PORT='[1-9][0-9]*'" <<<"$body"
}

@test "gives the application the variables of WSGI, of their types" {
    start_server environ_repr:app
    get /
    shows "type dict"
    shows "wsgi.version=(1, 0)"
    shows "wsgi.url_scheme='http'"
    for line in multithread="$(if threads; then echo True; else echo False; fi)" run_once=False input_terminated=True; do shows "wsgi.$line"; done
    for name in input errors file_wrapper; do grep -q "^wsgi\.$name=<" <<<"$body"; done
}

# PEP 3333: SCRIPT_NAME is where the application is, PATH_INFO what is left of the path; either may be empty.
@test "mounts the application below --root-path, in SCRIPT_NAME" {
    start_server --root-path /one/two environ_repr:app
    for path in /one/two /one/two/ /one/two/three%2Ffour '/%6Fne/two/five?/one'; do
        get "$path"
        shows "SCRIPT_NAME='/one/two'"
        grep -a "^PATH_INFO=" <<<"$body" >>"$answer.paths"
    done
    [ "$(tr '\n' ' ' <"$answer.paths")" = "PATH_INFO='' PATH_INFO='/' PATH_INFO='/three/four' PATH_INFO='/five' " ]
}

@test "has nothing outside of --root-path" {
    start_server --root-path /one/two environ_repr:app
    for path in / /one /one/twofold /one/tw /two /ONE/two //one/two '/?/one/two'; do
        printf 'GET %s HTTP/1.1\r\nHost: a\r\n\r\n' "$path" | is_refused 404 "9110 15.5.5"
    done
}

# RFC 9112 3.2.2, 3.2.4: the path in an absolute-form; a server as a whole.
@test "mounts the application for the other forms of a target, too" {
    start_server --root-path /one environ_repr:app
    get http://b/one/two
    shows "PATH_INFO='/two'"
    exchange 'OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
    shows "PATH_INFO=''"
    shows "REQUEST_URI='*'"
}

# PEP 3333: native strings, of characters that latin-1 has, as in PATH_INFO.
@test "gives a --root-path beyond ASCII as it gives such a path" {
    start_server --root-path /é environ_repr:app
    get /%C3%A9/%C3%A9
    shows "SCRIPT_NAME='/Ã©'"
    shows "PATH_INFO='/Ã©'"
}

# PEP 3333: native strings, of characters that latin-1 has.
@test "gives the application nothing but str for what comes from the request" {
    start_server environ_repr:app
    exchange 'GET /%ff?\x7e HTTP/1.1\r\nHost: a\r\nX-Octets: \xff\r\nConnection: close\r\n\r\n'
    [ "$(grep -a -v -E "^(wsgi\..*|type dict|[A-Za-z_]+=(\"|').*)\$" <<<"$body")" = "" ]
    shows "HTTP_X_OCTETS='ÿ'"
    shows "PATH_INFO='/ÿ'"
}

# PEP 3333: multiprocess is true if an equivalent application may run in another process.
# bats test_tags=modes
@test "sets wsgi.multiprocess where other processes serve too" {
    start_server environ_repr:app
    get /
    shows "wsgi.multiprocess=$(if forks || [ "$(workers)" -gt 0 ]; then echo True; else echo False; fi)"
}

@test "decodes the path once, leaves the query as it is, and keeps the raw target" {
    start_server environ_repr:app
    get '/a%2520b%2Fc%C3%A9+d?e%20f+%C3%A9'
    shows "PATH_INFO='/a%20b/cÃ©+d'"
    shows "QUERY_STRING='e%20f+%C3%A9'"
    shows "REQUEST_URI='/a%2520b%2Fc%C3%A9+d?e%20f+%C3%A9'"
    shows "RAW_URI='/a%2520b%2Fc%C3%A9+d?e%20f+%C3%A9'"
}

@test "leaves out what the request does not have" {
    start_server environ_repr:app
    exchange 'GET / HTTP/1.0\r\n\r\n'
    shows "QUERY_STRING=''"
    shows "SERVER_PROTOCOL='HTTP/1.0'"
    [ "$(grep -c -E "^(HTTP_|CONTENT_[A-Z]+='.+')" <<<"$body")" -eq 0 ]
}

# RFC 3875 4.1.14: an IPv6 address stands in brackets, for SERVER_NAME goes into URLs.
@test "names the listener in SERVER_NAME so that it fits into a URL" {
    "$PYTHON" -c 'import socket; socket.create_server(("::1", 0), family=socket.AF_INET6)' || skip "there is no IPv6 here"
    start_server --bind '[::1]:0' environ_repr:app
    body=$(curl -s -m 10 "http://[::1]:$port/")
    shows "SERVER_NAME='[::1]'"
    shows "REMOTE_ADDR='::1'"
}

@test "makes a fresh environ for each request of a connection" {
    start_server changed_environ:app
    request='GET / HTTP/1.1\r\nHost: a\r\n\r\n' # which is known from the third time on
    exchange "$request$request$request"'GET / HTTP/1.0\r\nHost: a\r\n\r\n'
    [ "$(grep -c '^[1-9][0-9] names, spoiled: False$' "$answer")" -eq 4 ]
}

@test "gives a chunked body its CONTENT_LENGTH, and no Transfer-Encoding" {
    start_server environ_repr:app
    exchange 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n'
    shows "CONTENT_LENGTH='6'"
    [ "$(grep -c TRANSFER <<<"$body")" -eq 0 ]
}

@test "lets the application read the body in every way, and is at its end again and again" {
    start_server reads_body:app
    end="(b'', b'', b'', [], [], b'')"
    while read -r way came; do
        exchange "POST /$way HTTP/1.0\r\nContent-Length: 9\r\n\r\none\ntwo\n!"
        body_is "$came $end"$'\n'
    done <<'WAYS'
read [b'one\ntwo\n!']
sized [b'on', b'e\ntwo\n!']
readline [b'one\n', b'tw', b'o\n']
readlines [b'one\n', b'two\n', b'!']
lines [b'one\n', b'two\n', b'!']
WAYS
}

@test "is at the end of the body at once where there is none" {
    start_server reads_body:app
    get /nothing
    body_is "[] (b'', b'', b'', [], [], b'')"$'\n'
}

@test "keeps a large body in a file, and a small one in memory" {
    start_server reads_body:app
    [ "$(curl -s -m 10 --data-binary @"$WEBSERVER" "$url/kind" | cut -d ' ' -f 1)" = "memory" ]
    head -c 2000000 /dev/zero >"$FILE"
    [ "$(curl -s -m 10 -H Expect: --data-binary @"$FILE" "$url/kind" | cut -d ' ' -f 1,2)" = "descriptor yes" ]
    [ "$(curl -s -m 10 -H 'Transfer-Encoding: chunked' -H Expect: --data-binary @"$FILE" "$url/kind" | cut -d ' ' -f 1,2)" = "descriptor yes" ]
}

@test "gives the application a large body as it was sent" {
    start_server echo:app
    head -c 3000000 /dev/urandom >"$FILE"
    curl -sf -m 20 --data-binary @"$FILE" -o "$answer" "$url"
    cmp "$FILE" "$answer"
    curl -sf -m 20 -H 'Transfer-Encoding: chunked' --data-binary @"$FILE" -o "$answer" "$url"
    cmp "$FILE" "$answer"
}

@test "lets the application leave its body unread" {
    start_server hello:app
    exchange 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18\r\n\r\nGET / HTTP/1.1\r\n\r\nGET / HTTP/1.0\r\n\r\n'
    [ "$(grep -c '^Hello' "$answer")" -eq 2 ]
    [ "$(grep -c '^HTTP/' "$answer")" -eq 2 ]
}

@test "takes any text for wsgi.errors, in any locale" {
    for locale in C C.UTF-8; do
        export LC_ALL=$locale PYTHONUTF8=0 PYTHONCOERCECLOCALE=0
        start_server writes_errors:app
        [ "$(curl -s -m 10 "$url")" = "written" ]
        eventually grep -a -q 'parts$' "$stderr"
        grep -a -q '^before' "$stderr"
        stop_server
        : >"$stderr"
    done
}

@test "fails when start_response is called twice, never, or after a first block" {
    start_server starts:app
    fails_plainly /twice /never /never_and_nothing /too_late
    get /twice
    grep -q '^  [A-Za-z]*Error: .*start_response' "$stderr"
}

@test "lets start_response come as late as in the first iteration" {
    start_server starts:app
    for way in in_first_iteration after_empty_block; do
        get "/$way"
        status_is "201 Created"
        shows body
    done
    [ ! -s "$stderr" ]
}

@test "lets start_response replace a head that is not on its way yet" {
    start_server starts:app
    for way in replaced replaced_after_empty_block; do
        get "/$way"
        status_is "503 Service Unavailable"
        has "X-Second: yes"
        [ "$(grep -c -i '^X-First' <<<"$head")" -eq 0 ]
    done
    [ ! -s "$stderr" ]
}

# bats test_tags=modes
@test "raises exc_info again where the head is on its way, and ends the connection" {
    start_server starts:app
    exchange 'GET /replaced_too_late HTTP/1.1\r\nHost: a\r\n\r\nGET /nothing HTTP/1.0\r\n\r\n'
    status_is "200 OK"
    body_is $'5\r\nbody\n\r\n'
    eventually grep -q '^  ValueError: broken on purpose' "$stderr"
}

@test "answers an iterable without blocks" {
    start_server starts:app
    exchange 'GET /nothing HTTP/1.1\r\nHost: a\r\n\r\nGET /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
    [ "$(grep -c '^HTTP/1.1 200' "$answer")" -eq 2 ]
    [ "$(grep -c -i '^content-length: 0' "$answer")" -eq 2 ]
}

@test "sends what the write callable is given before what is returned" {
    start_server writes:app
    exchange 'GET /both HTTP/1.0\r\n\r\n'
    body_is $'one\ntwo\nthree\n'
    [ "$(curl -s -m 10 "$url/both" | tr '\n' ' ')" = "one two three " ]
}

@test "sends what was written before the application failed, and ends the connection" {
    start_server writes:app
    get /fails
    status_is "200 OK"
    body_is $'4\r\none\n\r\n'
}

@test "counts what is written towards the Content-Length" {
    start_server writes:app
    exchange 'GET /length HTTP/1.1\r\nHost: a\r\n\r\nGET /length HTTP/1.0\r\n\r\n'
    has "Content-Length: 8"
    [ "${body:0:16}" = "12345678HTTP/1.1" ]
    [ "$(tail -c 8 "$answer")" = "12345678" ]
}

@test "refuses to write what is not bytes" {
    start_server writes:app
    fails_plainly /text
    grep -q '^  TypeError: .*str' "$stderr"
}

# bats test_tags=modes
@test "keeps little of 64 MB in memory that the application writes" {
    start_server writes:app
    curl -sf -m 60 -o "$answer" "$url/much"
    grown=$(tail -n 1 "$answer")
    [ "$(($(wc -c <"$answer") - ${#grown} - 1))" -eq 67108864 ]
    [ "$grown" -lt 16 ]
}

# The first response waits for its client half way, while the second is made from beginning to end.
# bats test_tags=modes
@test "keeps the contexts of two responses apart that are made at the same time" {
    start_server context_stream:app
    begin 'GET /one HTTP/1.0\r\n\r\n'
    read -r -t 10 line <&6
    [ "$(curl -s -m 20 "$url/two" | sort -u | tr -d ' ')" = "/two" ]
    [ "$(sed '1,/^.$/d' <&6 | sort -u | tr -d ' ')" = "/one" ]
}

# bats test_tags=modes
@test "sends each block before it asks for the next" {
    start_server stream:app
    exec 5<>"$LATCH"
    begin 'GET /wait HTTP/1.0\r\n\r\n'
    while read -r -t 10 line <&6 && [ "$line" != "one" ]; do :; done
    [ "$line" = "one" ] # while the second is held by the latch
    echo >&5
    [ "$(tr '\n' ' ' <&6)" = "two three " ]
}

# PEP 3333, "The write() Callable": what it was given goes out, or waits in a buffer, while the application goes on.
# bats test_tags=modes
@test "sends what is written while the application goes on" {
    exec 5<>"$LATCH"
    start_server writes:app
    begin 'GET /held HTTP/1.0\r\n\r\n'
    while read -r -t 5 line <&6 && [ "$line" != "one" ]; do :; done
    echo >&5
    [ "$line" = "one" ]
    [ "$(cat <&6)" = "two" ]
}

@test "closes the iterable after the last block" {
    start_server closing:app
    get /all
    shows two
    printed_once "closed /all"
}

@test "closes the iterable of a response without a body" {
    start_server closing:app
    exchange 'HEAD /head HTTP/1.0\r\n\r\n'
    printed_once "closed /head"
    get /empty
    printed_once "closed /empty"
}

# bats test_tags=modes
@test "closes the iterable when the application fails" {
    start_server closing:app
    for way in fails-first fails-later text never-started; do
        get "/$way"
        printed_once "closed /$way"
    done
}

# bats test_tags=modes
@test "closes the iterable soon after the client has left" {
    start_server closing:app
    begin 'GET /endless HTTP/1.1\r\nHost: a\r\n\r\n'
    while read -r -t 10 line <&6 && [ "$line" != "more" ]; do :; done
    exec 6>&-
    printed_once "closed /endless"
    [ ! -s "$stderr" ] # a client may leave
}

@test "serves on when an iterable fails to close" {
    start_server closing:app
    exchange 'GET /fails-to-close HTTP/1.1\r\nHost: a\r\n\r\nGET /all HTTP/1.0\r\n\r\n'
    [ "$(grep -c '^HTTP/1.1 200' "$answer")" -eq 2 ]
    printed_once "closed /fails-to-close"
    grep -q '^  ValueError: broken on purpose' "$stderr"
}

@test "logs what the application returned instead of an iterable of bytes" {
    start_server odd_returns:app
    while read -r path word; do
        fails_plainly "$path"
        grep -E "^  TypeError:.*[^A-Za-z]$word([^A-Za-z]|\$)" "$stderr" | grep -q bytes
    done <<'RETURNS'
/none returned None(Type)?
/str returned str
/bytes returned bytes
/int returned int
/list-of-str str
/list-of-int int
RETURNS
}

@test "ends the connection when a later block is not bytes" {
    start_server odd_returns:app
    get /later-str
    body_is $'4\r\none\n\r\n'
    grep -q '^  TypeError: .*str' "$stderr"
}

# RFC 9112 4, RFC 9110 5: whatever comes after a line end would be the application's client's to choose.
@test "sends no status that is none" {
    start_server as_asked:app
    fails_plainly "/?status=200+OK%0d%0aEvil:+1" "/?status=200+OK%0aEvil:+1" "/?status=200+OK%0dEvil:+1" \
        "/?status=200+Evil%00" "/?status=200+Evil%7f" "/?status=200+%E2%98%83" "/?status=20+Evil" "/?status=2000+Evil" \
        "/?status=Evil" "/?status=" "/?status=+200+Evil" "/?status=2x0+Evil" "/?status=099+Evil" "/?status=%D9%A2%D9%A0%D9%A0+Evil"
}

# PEP 3333: a server answers with 1xx, never the application. RFC 9110 15: a status is below 600.
@test "sends no informational status of the application, and none beyond 599" {
    start_server as_asked:app
    fails_plainly "/?status=100+Continue" "/?status=101+Switching+Protocols" "/?status=199+Odd" "/?status=600+Odd" "/?status=999+Odd"
}

@test "sends no field name that is no token" {
    start_server as_asked:app
    fails_plainly "/?status=200+OK&X%0d%0aEvil=1" "/?status=200+OK&X%0aEvil=1" "/?status=200+OK&X%00=Evil" \
        "/?status=200+OK&X+Evil=1" "/?status=200+OK&Evil:=1" "/?status=200+OK&=Evil" "/?status=200+OK&%C3%A9vil=1" "/?status=200+OK&Evil%0a=1"
}

@test "sends no field value with a control character, or one beyond latin-1" {
    start_server as_asked:app
    fails_plainly "/?status=200+OK&X=a%0d%0aEvil:+1" "/?status=200+OK&X=a%0aEvil:+1" "/?status=200+OK&X=a%0dEvil:+1" \
        "/?status=200+OK&X=a%00Evil" "/?status=200+OK&X=a%0a" "/?status=200+OK&X=a%0d%0a+Evil" "/?status=200+OK&X=%7f" "/?status=200+OK&X=%E2%98%83"
}

@test "sends no Content-Length that is no number, or stands there twice" {
    start_server as_asked:app
    for length in -1 +5 1_0 5,5 0x5 five '' 5%205 %D9%A5 99999999999999999999; do
        fails_plainly "/?status=200+OK&Content-Length=$length"
    done
    fails_plainly "/?status=200+OK&Content-Length=5&content-length=5"
}

@test "sends nothing that is not str in a list of tuples" {
    start_server not_text:app
    fails_plainly /status-number /status-bytes /status-none /headers-tuple /headers-none /headers-dict /header-text \
        /header-list /header-of-three /name-bytes /value-bytes /value-number /value-none
}

@test "is as strict with a head that resembles one it has sent" {
    start_server not_text:app
    exchange 'GET /list HTTP/1.1\r\nHost: a\r\n\r\nGET /tuple HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
    [ "$(grep -o '^HTTP/1.1 [0-9]*' "$answer" | cut -d ' ' -f 2 | tr '\n' ' ')" = "200 500 " ]
}

@test "closes the connection after an application has failed" {
    start_server starts:app
    get /never
    has "Connection: close"
    has "X-Content-Type-Options: nosniff"
    [ "$(grep -c -E 'start_response|starts|/' <<<"$body")" -eq 0 ]
}

@test "sends field values of latin-1 as they are" {
    start_server as_asked:app
    get "/body?status=200+%C3%A9t%C3%A9&X-Name=caf%C3%A9+%09."
    [ "$(grep -a -c "$(printf '^HTTP/1.1 200 \351t\351\r$')" "$answer")" -eq 1 ]
    [ "$(LC_ALL=C grep -a -c "$(printf '^X-Name: caf\351 \t.\r$')" "$answer")" -eq 1 ]
}

@test "keeps lines of the same name apart and in order" {
    start_server as_asked:app
    get "/body?status=200+OK&Set-Cookie=b=1&X-Between=yes&Set-Cookie=a=2&set-cookie=b=1"
    [ "$(grep -i '^set-cookie' <<<"$head" | tr '\n' ' ')" = "Set-Cookie: b=1 Set-Cookie: a=2 set-cookie: b=1 " ]
}

# RFC 9110 7.6.1: these are between the server and its client; event-stream recipes set the first.
@test "drops the hop-by-hop fields of the application" {
    start_server as_asked:app
    exchange 'GET /body?status=200+OK&connection=keep-alive&Keep-Alive=timeout%3D9&Transfer-Encoding=chunked&Trailer=X&Upgrade=h2c&TE=gzip&Proxy-Connection=close&X=1 HTTP/1.1\r\nHost: a\r\n\r\nGET /?status=200+OK HTTP/1.0\r\n\r\n'
    has "X: 1"
    [ "$(grep -c -i -E '^(connection|keep-alive|transfer-encoding|trailer|upgrade|te|proxy-connection):' <<<"$head")" -eq 0 ]
    [ "$(grep -c '^HTTP/1.1 200' "$answer")" -eq 1 ] # the second status-line follows the first body
    [ "${body:0:12}" = "bodyHTTP/1.1" ]
}

@test "honours the application's Connection: close" {
    start_server as_asked:app
    exchange 'GET /body?status=200+OK&connection=X,+Close HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n'
    has "Connection: close"
    [ "$(grep -c -i '^Connection' <<<"$head")" -eq 1 ]
    body_is body
}

@test "serves what PEP 3333 allows with --validate" {
    start_server --validate echo:app
    [ "$(curl -sf -m 10 "$url" -d one)" = "one" ]
    [ "$(curl -sf -m 10 "$url" -w '%{http_code}')" = "200" ]
    curl -sf -m 10 -o "$answer" --head "$url"
    [ ! -s "$stderr" ]
}

# A response without a Content-Type, which is none of the server's business else.
@test "logs what PEP 3333 does not allow with --validate, and answers 500" {
    start_server --validate as_asked:app
    get '/body?status=200+OK'
    status_is "500 Internal Server Error"
    grep -q '^  AssertionError: .*Content-Type' "$stderr"
    restart as_asked:app
    get '/body?status=200+OK'
    status_is "200 OK"
}

@test "passes the validator of wsgiref" {
    start_server validated:app
    for name in hello echo environ stream contexts pid printing latch context_stream closing/all 'as_asked/body?status=200+OK&Content-Type=text/plain'; do
        curl -sf -m 20 -o "$answer" "$url/$name"
        curl -sf -m 20 -o "$answer" "$url/$name" --data-binary @"$BATS_TEST_DIRNAME/run" -H Content-Type:text/plain
        curl -sf -m 20 -o "$answer" --head "$url/$name"
        curl -sf -m 20 -o "$answer" --http1.0 "$url/$name"
    done
    [ ! -s "$stderr" ]
}

@test "passes the validator of wsgiref with a file" {
    head -c 300000 /dev/urandom >"$FILE"
    start_server validated:app
    curl -sf -m 20 -o "$answer" "$url/sends_file/file"
    cmp "$FILE" "$answer"
    [ ! -s "$stderr" ]
}

# bats test_tags=modes
@test "sends a file from its position to its end, and by the kernel" {
    altered shown-sends
    head -c 5000000 /dev/urandom >"$FILE"
    start_server sends_file:app
    curl -sf -m 20 -o "$answer" "$url/partly-read"
    tail -c +7 "$FILE" | cmp - "$answer"
    grep -q '^sendfile' "$stderr"
}

@test "sends a file to its Content-Length" {
    printf '0123456789abcdef' >"$FILE"
    start_server sends_file:app
    exchange 'GET /announced HTTP/1.1\r\nHost: a\r\n\r\nGET /file HTTP/1.0\r\n\r\n'
    has "Content-Length: 4"
    [ "${body:0:12}" = "6789HTTP/1.1" ]
    [ "$(tail -c 16 "$answer")" = "0123456789abcdef" ]
}

@test "ends the connection where a file has less than its Content-Length" {
    printf '0123456789abcdef' >"$FILE"
    start_server sends_file:app
    exchange 'GET /too-short HTTP/1.1\r\nHost: a\r\n\r\nGET /file HTTP/1.0\r\n\r\n'
    body_is 0123456789abcdef
}

@test "sends no byte of a file for HEAD, but its length" {
    printf '0123456789abcdef' >"$FILE"
    start_server sends_file:app
    exchange 'HEAD /file HTTP/1.1\r\nHost: a\r\n\r\nHEAD /partly-read HTTP/1.0\r\n\r\n'
    has "Content-Length: 16"
    [ "$(grep -c -i '^content-length: 10' "$answer")" -eq 1 ]
    [ "$(grep -c 0123 "$answer")" -eq 0 ]
}

@test "sends an empty file" {
    : >"$FILE"
    start_server sends_file:app
    exchange 'GET /file HTTP/1.1\r\nHost: a\r\n\r\nGET /partly-read HTTP/1.0\r\n\r\n'
    has "Content-Length: 0"
    [ "$(grep -c '^HTTP/1.1 200' "$answer")" -eq 2 ]
}

# PEP 3333: as if the application had returned iter(filelike.read, b""). GzipFile has its file's fileno.
@test "sends a file that is none of the system's as its read gives it" {
    printf 'zipped text' | gzip >"$FILE"
    start_server sends_file:app
    for form in bytes:6789 gzip:'zipped text'; do
        exchange "GET /${form%%:*} HTTP/1.0\r\n\r\n"
        body_is "${form#*:}"
    done
    for form in reader pipe; do
        curl -sf -m 10 -o "$answer" "$url/$form"
        cmp "$FILE" "$answer"
    done
}

@test "closes the file that it has sent" {
    printf '0123456789abcdef' >"$FILE"
    start_server sends_file:app
    exchange 'GET /shown HTTP/1.0\r\n\r\n'
    body_is 0123456789abcdef
    printed_once closed
}

# The time that it may take exceeds what poll() can count in milliseconds.
@test "sends a file of three gigabytes as the client reads it" {
    dd if=/dev/zero of="$FILE" bs=1 count=1 seek=3000000000 2>"$BATS_TEST_TMPDIR/dd"
    start_server sends_file:app
    [ "$(curl -s -m 20 "$url/file" 2>/dev/null | head -c 90000000 | wc -c)" -eq 90000000 ]
    [ "$(grep -c Traceback "$stderr")" -eq 0 ]
}

@test "sends no Date and no Server that stands there twice" {
    start_server as_asked:app
    fails_plainly "/?status=200+OK&Date=a&date=a" "/?status=200+OK&Server=a&SERVER=b" "/?status=200+OK&Location=/a&location=/b"
}

@test "sends the text of a str whatever its __str__ returns" {
    start_server odd_text:app
    get /
    status_is "200 Even"
    has "X-Name: value"
    [ "$(grep -c -i evil "$answer")" -eq 0 ]
}

# PEP 3333: as if the application had returned iter(filelike.read, b"").
@test "reads a file whose read is another, or whose wrapper is" {
    printf 'a text' >"$FILE"
    start_server reads_otherwise:app
    for path in /file /wrapper; do
        get "$path"
        grep -q -F 'A TEXT' <<<"$body"
    done
}

@test "reads a file whose read was replaced" {
    printf 'a text' >"$FILE"
    start_server reads_otherwise:app
    get /instance
    grep -q -F 'A TEXT' <<<"$body"
}

# RFC 9112: the client has its response when its last byte has come, whatever remains to be done here.
@test "ends a response before the iterable has closed" {
    exec 5<>"$LATCH"
    start_server closes_late:app
    for path in /length /chunks; do
        curl -sf -m 5 -o "$answer" "$url$path" # has the end, too
        [ "$(cat "$answer")" = $'two\nlines' ]
        echo >&5
        printed_once "closed $path"
    done
}

# bats test_tags=modes
@test "closes an iterable of empty blocks soon after the client has left" {
    start_server empty_blocks:app
    begin 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'
    read -r -t 10 line <&6
    exec 6>&- # with the rest unread: a reset
    printed_once over
}

@test "sends nothing that is written after a response has ended" {
    start_server writes_late:app
    exchange 'GET /list HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nGET /list HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
    [ "$(grep -c '^HTTP/1.1 200' "$answer")" -eq 3 ]
    [ "$(grep -c 'late' "$answer")" -eq 0 ]
}

@test "sends nothing that is written when the iterable closes" {
    start_server writes_at_close:app
    exchange 'GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
    [ "$(grep -c '^HTTP/1.1 200' "$answer")" -eq 2 ]
    [ "$(grep -c 'late' "$answer")" -eq 0 ]
}
