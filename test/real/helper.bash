# What the tests of real applications load. The interpreter is that of `test/tools apps`, which has them installed.
#
# shellcheck shell=bash

load ../test_helper
eval "$(declare -f teardown | sed '1s/^teardown /server_teardown /')"

# A neighbour ends before the server does, and what it said is shown after a failure too.
teardown() {
    if [ -n "${neighbour-}" ]; then
        kill -TERM "$neighbour" && wait_for "$neighbour" || true
        cat "$BATS_TEST_TMPDIR/neighbour"
    fi
    server_teardown
}

setup() {
    local place=$BATS_TEST_TMPDIR
    [ -z "${SHARED_APPS-}" ] || place=$BATS_FILE_TMPDIR # of what a server keeps from test to test
    export PYTHONPATH=$BATS_TEST_DIRNAME/apps GATE=$place/gate UPLOAD=$place/upload LOG=$place/log DATABASE=$place/database
    jar=$BATS_TEST_TMPDIR/jar answer=$BATS_TEST_TMPDIR/answer front=$BATS_TEST_TMPDIR/front back=$BATS_TEST_TMPDIR/back
    neighbour=
}

# serves APPLICATION ARGUMENT...  starts it; what Django needs first is a database. Bottle stands for all that is installed.
serves() {
    "$PYTHON" -c 'import bottle' || skip "make test-apps installs what this needs"
    [ "$1" != on_django ] || [ -e "$DATABASE" ] || "$PYTHON" "$BATS_TEST_DIRNAME/apps/on_django.py"
    start_server "$@"
}

# each COMMAND...  runs it for every application, with its name and a server for it.
each() {
    local application
    for application in on_flask on_bottle on_django; do
        echo "$application:" # seen where the test fails
        serves "$application"
        "$@"
        stop_server
        rm -f "$jar"
    done
}

# browses ARGUMENT...  is curl with the cookies of one visitor.
browses() {
    curl -sS -f -m 20 -b "$jar" -c "$jar" "$@"
}

# large_file PATH  makes one of 30 MB, no two parts of it the same.
large_file() {
    "$PYTHON" -c 'import random, sys; sys.stdout.buffer.write(random.Random(7).getrandbits(8 * 30_000_000).to_bytes(30_000_000, "little"))' >"$1"
}

# drives STEP...  uses the application by requests and by httpx, as drive.py says.
drives() {
    "$PYTHON" "$BATS_TEST_DIRNAME/drive.py" "$url" "$@"
}

# starts_neighbour COMMAND...  starts what listens on the socket at $front, and waits until it does.
starts_neighbour() {
    "$@" >"$BATS_TEST_TMPDIR/neighbour" 2>&1 </dev/null 3>&- 4>&- & neighbour=$!
    eventually test -S "$front"
}

# nginx_before ADDRESS [LINE...]  starts nginx on $front, with these upstream servers behind one address, kept alive,
# and with more lines for the http block.
nginx_before() {
    type nginx >/dev/null 2>&1 || skip "there is no nginx: Debian's package nginx-light, Homebrew's nginx"
    local owner=
    [ "$(id -u)" -ne 0 ] || owner="user root $(id -gn);"
    cat >"$BATS_TEST_TMPDIR/nginx.conf" <<END
$owner
daemon off; master_process off; pid $BATS_TEST_TMPDIR/nginx.pid; error_log stderr crit;
events { worker_connections 64; }
http {
    access_log off; client_body_temp_path $BATS_TEST_TMPDIR; proxy_temp_path $BATS_TEST_TMPDIR;
    fastcgi_temp_path $BATS_TEST_TMPDIR; uwsgi_temp_path $BATS_TEST_TMPDIR; scgi_temp_path $BATS_TEST_TMPDIR;
    client_header_timeout 300ms; client_body_timeout ${CLIENT_TIMEOUT-300ms}; client_max_body_size 0;
    upstream server { server $1; keepalive 1; }
    ${*:2}
    server {
        listen unix:$front;
        location / {
            proxy_pass http://server;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host \$host;
            proxy_set_header X-Forwarded-For 9.9.9.9;
            proxy_set_header X-Front "\$request_id \$request_method \$request_uri";
        }
    }
}
END
    starts_neighbour nginx -p "$BATS_TEST_TMPDIR" -e stderr -c "$BATS_TEST_TMPDIR/nginx.conf"
}

# haproxy_before ADDRESS [WORD]  starts HAProxy on $front before that server, as haproxy.cfg says; the word is one of it.
haproxy_before() {
    type haproxy >/dev/null 2>&1 || skip "there is no HAProxy: the package haproxy has it"
    export FRONT=$front BACK=$1 STATS=$BATS_TEST_TMPDIR/stats CLIENT_TIMEOUT=${CLIENT_TIMEOUT-300ms}
    starts_neighbour env ${2:+"$2=1"} haproxy -db -f "$BATS_TEST_DIRNAME/haproxy.cfg"
}

# smuggles  sends the corpus through the neighbour, and shows what it says.
smuggles() {
    "$PYTHON" "$BATS_TEST_DIRNAME/smuggle.py" "$front" "$LOG"
}

# haproxy_says COMMAND  prints its answer.
haproxy_says() {
    "$PYTHON" -c 'import socket, sys
with socket.socket(socket.AF_UNIX) as sock:
    sock.connect(sys.argv[1])
    sock.sendall(sys.argv[2].encode() + b"\n")
    print(sock.makefile().read())' "$BATS_TEST_TMPDIR/stats" "$1"
}

# is_for_haproxy STATE  succeeds when HAProxy has found the server UP or DOWN.
is_for_haproxy() {
    haproxy_says "show stat" | awk -F , -v state="$1" '$1 == "servers" && $2 == "one" { found = $18 == state } END { exit !found }'
}
