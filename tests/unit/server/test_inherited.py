"""No engine inherits a key that was meant for llmux."""

from __future__ import annotations

import json

from llmux.server import config
from llmux.server._inherited import inherited


def test_keys_for_servers_elsewhere_and_of_clients_are_not_inherited():
    remote = {"engine": "remote", "remote": {"url": "https://x", "api_key_env": "UPSTREAM"}}
    settings = config.parse(
        json.dumps(
            {
                "models": {
                    "m": {"model_path": "x", "port": 8001},
                    "far": {"model_path": "x", **remote},
                },
                "access": {"keys": {"a": {"env": "A_KEY"}}, "token": {"env": "TOKEN"}},
            }
        )
    )
    environ = {"UPSTREAM": "1", "A_KEY": "2", "TOKEN": "3", "HF_TOKEN": "4", "PATH": "5"}
    assert inherited(settings, environ) == {"HF_TOKEN": "4", "PATH": "5"}
