"""Whether a port is free, and whether somebody is connected to it, by the kernel's own tables."""

from __future__ import annotations

import asyncio
import socket

import pytest

from llmux.server._ports import connected_ports, is_taken, until_free, wait_until_unconnected
from llmux.server.errors import EnginePortTaken

# Of a real /proc/net/tcp: a listener, an established connection, one in TIME_WAIT, one in CLOSE_WAIT.
TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F41 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 100 1 0000000000000000
   1: 0100007F:1F42 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 101 1 0000000000000000
   2: 0100007F:1F43 0100007F:C351 06 00000000:00000000 03:00000176 00000000     0        0 0 3 0000000000000000
   3: 0100007F:1F44 0100007F:C352 08 00000000:00000000 00:00000000 00000000     0        0 102 1 0000000000000000
"""


def test_only_open_connections_count():
    assert connected_ports(TABLE) == {8002, 8004}


def test_a_cut_off_table_is_read_as_far_as_it_goes():
    assert connected_ports(TABLE[:130]) == frozenset()
    assert connected_ports("") == frozenset()


async def test_a_port_that_somebody_listens_on_is_named():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(EnginePortTaken, match=f"port {port} .*listens there already"):
            await until_free("127.0.0.1", port, 0)
    await until_free("127.0.0.1", port, 0)


def test_a_port_is_taken_where_somebody_listens_and_not_beside_it():
    with socket.create_server(("127.0.0.2", 0)) as server:
        port = server.getsockname()[1]
        assert is_taken("127.0.0.2", port)
        assert is_taken("0.0.0.0", port)
        assert not is_taken("127.0.0.1", port)
        assert not is_taken("no-such-host.invalid", port)
        assert not is_taken("192.0.2.1", port)  # nobody can listen on another machine's address
    assert not is_taken("127.0.0.2", port)


async def test_a_port_that_is_about_to_be_free_is_waited_for():
    server = socket.create_server(("127.0.0.1", 0))
    waiting = asyncio.gather(until_free("127.0.0.1", server.getsockname()[1], 5))
    await asyncio.sleep(0.03)
    assert not waiting.done()
    server.close()
    await waiting


async def test_the_wait_ends_when_the_connection_does():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client, server.accept()[0] as accepted:
            assert not await wait_until_unconnected(port, 0.05)
            asyncio.get_running_loop().call_later(0.05, lambda: (client.close(), accepted.close()))
            assert await wait_until_unconnected(port, 5)
