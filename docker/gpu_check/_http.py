"""JSON over HTTP on this machine, with the standard library."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from dataclasses import dataclass

from gpu_check._children import CaseFailed

_HERE = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Asks without the environment's proxies, which urllib has be asked for the loopback address too."""
_CHAT = {
    "messages": [{"role": "user", "content": "What is a lens?"}],
    "max_tokens": 16,
    "temperature": 0,
}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@dataclass(frozen=True)
class Server:
    """A server on a port of this machine. Each method raises CaseFailed."""

    port: int

    def ask(self, path: str, body: object = None, timeout: float = 900.0) -> dict[str, object]:
        """Return the JSON object that it answers with."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", data, {"Content-Type": "application/json"}
        )
        try:
            with _HERE.open(request, timeout=timeout) as response:
                answer = response.read()
        except urllib.error.HTTPError as error:
            said = error.read().decode("utf-8", "replace")[:600]
            raise CaseFailed(f"{path}: {error.code} {said}") from error
        except OSError as error:
            raise CaseFailed(f"{path}: {error}") from error
        return dict(json.loads(answer)) if answer else {}

    def answers(self, path: str) -> bool:
        try:
            self.ask(path, timeout=5.0)
        except CaseFailed:
            return False
        return True

    def chat(self, model: str) -> str:
        """Return what the model says to what is always the same."""
        answer = self.ask("/v1/chat/completions", {"model": model, **_CHAT})
        return json.dumps(answer["choices"])
