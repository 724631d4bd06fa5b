"""A certificate and its key: shown in real handshakes, read anew, and kept where what is there now is none."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess  # noqa: TID251 - openssl makes the certificates
from contextlib import asynccontextmanager

import pytest

from llmux.server import _certificates
from llmux.server._certificates import Certificates
from llmux.server.config import TlsConfig
from llmux.server.errors import NodeUnfit

NEW = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "2"]


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """Give a directory with certificates and keys: one, two, and locked by a password."""
    directory = tmp_path_factory.mktemp("tls")
    for name in ("one", "two", "locked"):
        lock = ["-passout", "pass:secret"] if name == "locked" else ["-noenc"]
        files = ["-keyout", directory / f"{name}.key", "-out", directory / f"{name}.pem"]
        names = ["-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        subprocess.run([*NEW, *lock, *files, *names], check=True, capture_output=True)
    return directory


@pytest.fixture
def put(authority, tmp_path):
    """Give a function that puts a certificate and a key in place, and gives where."""

    def place(certificate, key=None):
        for source, target in ((f"{certificate}.pem", "cert.pem"), (f"{key or certificate}.key", "key.pem")):
            new = tmp_path / f".{target}"
            shutil.copy(authority / source, new)
            new.replace(tmp_path / target)
        return TlsConfig(certificate=tmp_path / "cert.pem", key=tmp_path / "key.pem")

    return place


@asynccontextmanager
async def listening(certificates):
    async def hang_up(_reader, writer):
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0, ssl=certificates.context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def shown(port, authority, name="localhost", **limits):
    """Return who the certificate is of that is shown in a handshake."""
    trusting = ssl.create_default_context()
    for each in ("one", "two"):
        trusting.load_verify_locations(authority / f"{each}.pem")
    for limit, version in limits.items():
        setattr(trusting, limit, version)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting, server_hostname=name)
    subject = writer.get_extra_info("peercert")["subject"]
    await reader.read()
    writer.close()
    return dict(pair for part in subject for pair in part)["commonName"]


async def test_a_new_certificate_is_shown_to_who_connects_after_it_is_taken(put, authority):
    certificates = await asyncio.to_thread(Certificates, put("one"))
    async with listening(certificates) as port:
        assert await shown(port, authority) == "one"
        put("two")
        assert await shown(port, authority) == "one"
        take = await asyncio.to_thread(certificates.prepare, None)
        assert await shown(port, authority) == "one"
        take()
        assert await shown(port, authority) == "two"
        assert await shown(port, authority, name="127.0.0.1") == "two"  # which is no name that is sent


async def test_files_that_change_are_read_anew_once_they_fit_together(put, authority, monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr(_certificates, "LOOK_EVERY", 0.03)
    certificates = await asyncio.to_thread(Certificates, put("one"))
    async with listening(certificates) as port:
        watching = asyncio.ensure_future(certificates.watch())  # noqa: TID251 - ended below
        put("two", "one")
        async with asyncio.timeout(30):
            while "stays as it is" not in caplog.text:  # noqa: ASYNC110 - a log has no event for it
                await asyncio.sleep(0.02)
        assert await shown(port, authority) == "one"
        put("two")
        async with asyncio.timeout(30):
            while await shown(port, authority) != "two":  # noqa: ASYNC110 - nor has a handshake
                await asyncio.sleep(0.02)
        watching.cancel()
    assert caplog.text.count("stays as it is") == 1


async def test_nothing_older_than_tls_1_2_is_spoken(put, authority):
    certificates = await asyncio.to_thread(Certificates, put("one"))
    async with listening(certificates) as port:
        assert await shown(port, authority, maximum_version=ssl.TLSVersion.TLSv1_2) == "one"
        with pytest.warns(DeprecationWarning, match="TLSv1"), pytest.raises(ssl.SSLError):
            await shown(
                port, authority, minimum_version=ssl.TLSVersion.TLSv1, maximum_version=ssl.TLSVersion.TLSv1_1
            )


def test_what_is_no_certificate_is_named(put, tmp_path):
    for certificate, key in (("one", "two"), ("locked", None)):
        with pytest.raises(NodeUnfit, match=r"cert\.pem and .*key\.pem are no certificate and its key"):
            Certificates(put(certificate, key))
    (tmp_path / "key.pem").unlink()
    with pytest.raises(NodeUnfit, match=r"tls\.key: cannot read .*key\.pem: No such file"):
        Certificates(TlsConfig(certificate=tmp_path / "cert.pem", key=tmp_path / "key.pem"))


async def test_a_reload_with_a_bad_certificate_takes_nothing(put, authority):
    certificates = await asyncio.to_thread(Certificates, put("one"))
    put("two", "one")
    with pytest.raises(NodeUnfit):
        await asyncio.to_thread(certificates.prepare, None)
    async with listening(certificates) as port:
        assert await shown(port, authority) == "one"
