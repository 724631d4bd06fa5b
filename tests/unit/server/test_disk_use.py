"""Who sleeps on disk: who is configured to, who may, and who never does."""

from __future__ import annotations

import json

import pytest

from llmux.server import config
from llmux.server._disk_use import DiskUse, disk_use

IN_MEMORY = {"eviction": {"process": "keep_running"}}
STOPS = {"eviction": {"process": "stop"}}
REMOTE = {"engine": "remote", "remote": {"url": "https://x"}}


@pytest.mark.parametrize(
    ("models", "use"),
    [
        (({},), DiskUse.WANTED),
        ((STOPS, {}), DiskUse.WANTED),
        ((IN_MEMORY | {"ladder": {"deepen_after": 60}},), DiskUse.WANTED),
        (({"eviction": {"process": "keep_running", "escalate": ["checkpoint"]}},), DiskUse.WANTED),
        ((IN_MEMORY, STOPS), DiskUse.WHERE_IT_CAN),
        ((IN_MEMORY | {"ladder": {"stop_after": 60}},), DiskUse.NEVER),
        ((STOPS,), DiskUse.NEVER),
        ((REMOTE,), DiskUse.NEVER),
    ],
)
def test_disk_use_is_that_of_the_model_that_needs_it_most(models, use):
    named = {
        f"m{number}": {"model_path": "x"} | ({} if model is REMOTE else {"port": 8000 + number}) | model
        for number, model in enumerate(models)
    }
    assert disk_use(config.parse(json.dumps({"models": named}))) is use
