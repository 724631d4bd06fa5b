"""The server behind nginx: answers each request with its own count of them."""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler
from itertools import count
from socketserver import ThreadingUnixStreamServer

requests = count(1)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = f"{next(requests)}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "unix"


class Server(ThreadingUnixStreamServer):
    daemon_threads = True


Server(sys.argv[1], Handler).serve_forever()
