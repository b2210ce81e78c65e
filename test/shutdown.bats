#!/usr/bin/env bats
# shutdown() of make_server(), as the standard library's has it: one that comes before serve_forever() is heeded then.

load test_helper

@test "heeds a shutdown() that comes just before serve_forever(), at each use" {
    cp "$WEBSERVER" "$BATS_TEST_TMPDIR/webserver.py"
    PYTHONPATH="$BATS_TEST_TMPDIR:$BATS_TEST_DIRNAME/apps" "$PYTHON" - <<'END'
import called, faulthandler
faulthandler.dump_traceback_later(5, exit=True)
with called.make() as server:
    for _ in range(3):
        server.shutdown()
        server.serve_forever()
        with called.serving(server):
            assert called.ask(server) == (200, "/")
END
}
