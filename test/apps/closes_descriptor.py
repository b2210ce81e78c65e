"""Answer with the number of the process that serves; for /close, close the descriptor of the connection before."""

import os
import socket
import stat

import pid


def app(environ, start_response):
    if environ["PATH_INFO"] == "/close":
        close_connection(int(environ["REMOTE_PORT"]))
    return pid.app(environ, start_response)


def close_connection(port):
    for number in range(3, 256):
        try:
            if stat.S_ISSOCK(os.fstat(number).st_mode):
                with socket.socket(fileno=os.dup(number)) as sock:
                    peer = sock.getpeername()
                if peer and peer[1] == port:
                    os.close(number)
        except OSError:  # it is closed, or has no peer
            pass
