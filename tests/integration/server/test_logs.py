"""A whole run of llmux before a real engine, at its most talkative: nothing that was said, and no key, is in its log."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess  # noqa: TID251 - llmux as a process of its own
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping

import aiohttp
import pytest
from ports import free_port

from llmux.server.access.keys import hash_of

pytestmark = pytest.mark.root

NAME = "lighthouse"
CHAT = "/v1/chat/completions"
PLANTED = tuple(
    f"planted-{word}-51c7-and-long-enough"
    for word in ("prompt", "key", "refused", "control", "token", "store")
)
PROMPT, KEY, REFUSED, CONTROL, TOKEN, STORE = PLANTED
BOTH = {"Authorization": f"Bearer {KEY}", "X-Api-Key": KEY}


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def configuration(directory, trained, *, keyed) -> dict:
    model = {
        "model_path": str(trained),
        "port": free_port(),
        "engine": "tiny",
        "eviction": {"weights": "discard", "process": "keep_running"},
        "env": {"HF_TOKEN": TOKEN},
    }
    token = directory / "token"
    token.touch(0o600)
    token.write_text(CONTROL)
    keys = {"team": {"hash": hash_of(KEY), "role": "control"}}
    store = {"endpoint": "http://s3", "bucket": "b", "access_key": STORE, "secret_key": STORE}
    return {
        "models": {NAME: model},
        "checkpoint": {"images_dir": str(directory / "images"), "object_store": store},
        "log_dir": str(directory / "log"),
        "state_dir": str(directory / "state"),
        "host": "127.0.0.1",
        "port": free_port(),
        "engines_at_exit": "stop",
        "access": {"keys": keys, "token": {"file": str(token)}} if keyed else {},
    }


class Client:
    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def ask(self, path: str, body: object = None, headers: Mapping[str, str] = BOTH) -> int:
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        told = {**headers, "Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data, told)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                answer.read()
                return answer.status
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    def talk(self, key: str) -> int:
        """Say something in a WebSocket, the key in its subprotocols; return the handshake's status."""
        return asyncio.run(self._talk(("realtime", f"openai-insecure-api-key.{key}")))

    async def _talk(self, protocols: tuple[str, ...]) -> int:
        address = f"{self.url}/v1/realtime?model={NAME}&key={KEY}"
        async with asyncio.timeout(60), aiohttp.ClientSession() as session:
            try:
                async with session.ws_connect(address, protocols=protocols) as socket:
                    await socket.send_json({"type": PROMPT, "text": PROMPT})
                    await socket.receive()
            except aiohttp.WSServerHandshakeError as error:
                return error.status
        return 101


def chat(**fields):
    return {"model": NAME, "max_tokens": 4, "messages": [{"role": "user", "content": PROMPT}], **fields}


def all_that_is_done(client: Client) -> list[int]:
    return [
        client.ask(CHAT, chat()),
        client.ask(f"{CHAT}?api_key={KEY}", chat(stream=True)),
        client.ask("/control/sleep", {"model": NAME}),
        client.ask(CHAT, chat()),
        client.ask(CHAT, chat(model=PROMPT)),
        client.ask(CHAT, PROMPT.encode()),
        client.ask("/control/wake", {"model": NAME, "token": KEY}),
        client.ask("/control/reload", {}, bearer(CONTROL)),
        client.ask("/control/status"),
        client.ask(CHAT, chat(max_tokens=PROMPT)),
    ]


def every_way_of_a_key(client: Client) -> list[int]:
    return [
        client.ask(CHAT, chat(), bearer(KEY)),
        client.ask("/v1/models", headers={"x-api-key": KEY}),
        client.talk(KEY),
        client.ask(CHAT, chat(), bearer(REFUSED)),
        client.ask("/v1/messages", chat(), {"x-api-key": REFUSED}),
        client.ask(f"{CHAT}?key={REFUSED}", chat(), {"Authorization": REFUSED, "Cookie": REFUSED}),
        client.talk(REFUSED),
        client.ask("/control/status", headers=bearer(CONTROL)),
    ]


@pytest.mark.parametrize(("form", "keyed"), [("text", False), ("text", True), ("json", True)])
def test_no_prompt_no_key_and_no_token_is_logged(tmp_path, trained, form, keyed):
    document = configuration(tmp_path, trained, keyed=keyed)
    path, log = tmp_path / "config.json", tmp_path / "llmux.log"
    path.write_text(json.dumps(document))
    argv = [sys.executable, "-m", "llmux.server", "serve", "--config", str(path), "--verbose"]
    with log.open("wb") as file:
        llmux = subprocess.Popen([*argv, "--log-format", form], stderr=file)
        try:
            client = Client(document["port"])
            while "serving" not in log.read_text():
                assert llmux.poll() is None, log.read_text()
            statuses = all_that_is_done(client)
            by_key = every_way_of_a_key(client)
            llmux.send_signal(signal.SIGTERM)
            assert llmux.wait(60) == 0
        finally:
            llmux.kill()
            llmux.wait()
    assert statuses == [200, 200, 200, 200, 404, 400, 400, 200, 200, 400]
    assert by_key == [200, 200, 101, *([401] * 4 if keyed else [200, 200, 200, 101]), 200]
    said = log.read_text()
    assert "stopped" in said
    assert said.count("POST /v1/chat/completions") >= 6
    for secret in (*PLANTED, *map(hash_of, PLANTED)):
        assert secret not in said
    if form == "json":
        assert all(json.loads(line)["message"] for line in said.splitlines())
