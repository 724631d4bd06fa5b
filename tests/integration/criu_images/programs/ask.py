"""A new client of a program: ask.py http|pool|line ADDRESS WHAT."""

from __future__ import annotations

import http.client
import socket
import sys
from multiprocessing.connection import Client


class UnixConnection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = connected(self.host)


def connected(path: str) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    made.settimeout(20)
    made.connect(path)
    return made


def ask_http(address: str, path: str) -> str:
    connection = (
        UnixConnection(address)
        if address.startswith("/")
        else http.client.HTTPConnection(address, timeout=60)
    )
    connection.request("GET", path)
    return connection.getresponse().read().decode()


def ask_pool(address: str, number: str) -> str:
    with Client(address) as connection:
        connection.send(int(number))
        return " ".join(map(str, connection.recv()))


def ask_line(address: str, line: str) -> str:
    with connected(address) as connection:
        connection.sendall(line.encode())
        return connection.makefile().readline()


how = {"http": ask_http, "pool": ask_pool, "line": ask_line}[sys.argv[1]]
sys.stdout.write(how(sys.argv[2], sys.argv[3].replace("\\r\\n", "\r\n")).strip() + "\n")
