"""Files of secrets: who may have them, and that every one that is not fit is named where people look."""

from __future__ import annotations

import os

import pytest

from llmux.server import _secret_file
from llmux.server.config import parse, render


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "secret"
    path.write_text("planted-secret\n")
    return path


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o640, 0o440, 0o750])
def test_what_is_for_its_owner_and_a_group_is_read(path, mode):
    path.chmod(mode)
    assert _secret_file.read(path) == b"planted-secret\n"


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        (0o644, "everybody on this machine can read"),
        (0o604, "chmod o-rwx"),
        (0o660, "others than its owner can write"),
        (0o602, "chmod go-w"),
    ],
)
def test_what_others_have_is_refused_with_what_mends_it(path, mode, words):
    path.chmod(mode)
    with pytest.raises(_secret_file.UnfitError, match=words) as refused:
        _secret_file.read(path)
    assert "planted" not in str(refused.value)


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path, words in (
        (tmp_path / "pipe", "no regular file"),
        (tmp_path, "Is a directory"),
        (tmp_path / "nowhere", "No such file"),
    ):
        with pytest.raises(_secret_file.UnfitError, match=words):
            _secret_file.read(path)


def test_every_file_of_a_configuration_is_named_with_its_field(path):
    path.chmod(0o644)
    model = {"model_path": "m", "port": 8001}
    remote = {
        "model_path": "far",
        "engine": "remote",
        "remote": {"url": "https://example.org/v1", "api_key_file": str(path)},
    }
    settings = parse(
        render(
            {
                "models": {"m": model, "far": remote},
                "access": {
                    "keys": {"k": {"file": str(path)}, "h": {"hash": "sha256:" + "0" * 64}},
                    "token": {"file": str(path)},
                },
                "tls": {"certificate": str(path), "key": str(path)},
                "hooks": [{"command": ["true"]}, {"url": "https://example.org", "secret_file": str(path)}],
            },
            ".json",
        ),
        "config.json",
    )
    found = _secret_file.faults(settings)
    assert [each.partition(": ")[0] for each in found] == [
        "access.keys.k.file",
        "access.token.file",
        "tls.key",
        "hooks.1.secret_file",
        "models.far.remote.api_key_file",
    ]
    path.chmod(0o600)
    assert _secret_file.faults(settings) == ()
