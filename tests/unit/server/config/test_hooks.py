"""What a hook can be told to be."""

from __future__ import annotations

import pytest
from samples import faults, loaded, model

from llmux.server import config

URL = "https://hooks.example/x"


def with_hook(**hook):
    return {"models": {"m": model()}, "hooks": [hook]}


def test_a_hook_is_a_program_or_an_address():
    found = loaded(hooks=[{"command": ["notify"]}, {"url": URL, "events": ["wake_done"], "models": ["m"]}])
    assert [hook.attempts for hook in found.hooks] == [5, 5]
    assert URL not in repr(found)


@pytest.mark.parametrize(
    ("hook", "fault"),
    [
        ({}, "hooks.0: takes a command or a url"),
        ({"command": ["x"], "url": URL}, "hooks.0: takes a command or a url"),
        ({"command": ["x"], "secret_file": "/s"}, "hooks.0: secret_file signs what is sent to a url"),
        ({"url": "ftp://x"}, "hooks.0.url: must be an address"),
        ({"url": "https://a:b@x"}, "hooks.0.url: must have no user"),
        ({"url": URL, "events": ["wake_dune"]}, "did you mean 'wake_done'?"),
    ],
)
def test_what_is_none_is_refused_with_its_place(hook, fault):
    found = faults(with_hook(**hook))
    assert any(fault in each for each in found), found


def test_another_hook_needs_a_restart():
    before, after = loaded(), loaded(hooks=[{"url": URL}])
    assert config.changes(before, after).at_next_start
