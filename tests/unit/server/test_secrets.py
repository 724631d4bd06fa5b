"""Keys are read from the configuration, files and the environment, and every one that cannot be is named."""

from __future__ import annotations

import pytest

from llmux.server._secrets import Secrets
from llmux.server.access.keys import Limits, hash_of
from llmux.server.access.roles import Role
from llmux.server.config import AccessConfig
from llmux.server.errors import NodeUnfit

TEXT = "llmux-" + "k" * 43


def access(**fields):
    return AccessConfig.model_validate(fields, strict=False)


def read(environ=None, **fields):
    return Secrets({} if environ is None else environ).read(access(**fields))


def faults(environ=None, **fields):
    with pytest.raises(NodeUnfit) as caught:
        read(environ, **fields)
    return caught.value.faults


@pytest.fixture
def file(tmp_path):
    def write(text, mode=0o600):
        path = tmp_path / "key"
        path.write_text(text)
        path.chmod(mode)
        return str(path)

    return write


def test_a_key_is_the_same_wherever_it_is(file):
    places = [
        {"hash": hash_of(TEXT)},
        {"env": "KEY"},
        {"file": file(f"{TEXT}\n")},
    ]
    for place in places:
        assert read({"KEY": TEXT}, keys={"k": place}).ring.find(TEXT).name == "k"
    assert read({"KEY": hash_of(TEXT)}, keys={"k": {"env": "KEY"}}).ring.find(TEXT)
    assert read({}, keys={"k": {"file": file(hash_of(TEXT))}}).ring.find(TEXT)


def test_everything_that_is_said_of_it_holds():
    said = {
        "hash": hash_of(TEXT),
        "role": "control",
        "models": ["a", "b-*"],
        "requests_per_minute": 1,
        "tokens_per_minute": 2,
        "concurrency": 3,
        "priority": -4,
        "expires": "1970-01-01T01:00:00+00:30",
    }
    made = read(keys={"k": said}, admin_uids=[7], cors_origins=["https://a.example"])
    key = made.ring.find(TEXT)
    assert (key.role, key.models, key.limits) == (Role.CONTROL, ("a", "b-*"), Limits(1, 2, 3))
    assert (key.priority, key.expires) == (-4, 1800.0)
    assert {0, 7} <= made.admin_uids
    assert made.origins == ("https://a.example",)
    assert made.keyed


def test_a_token_leaves_v1_open():
    made = read(token={"hash": hash_of(TEXT)})
    assert made.ring.find(TEXT).role is Role.ADMIN
    assert not made.keyed


def test_a_variable_is_taken_out_of_the_environment_and_remembered_for_a_reload():
    environ = {"KEY": TEXT, "PATH": "/bin"}
    secrets = Secrets(environ)
    config = access(keys={"k": {"env": "KEY"}})
    secrets.read(config)
    assert environ == {"PATH": "/bin"}
    assert secrets.read(config).ring.find(TEXT)


def test_a_file_is_read_again(file):
    secrets = Secrets({})
    config = access(keys={"k": {"file": file(TEXT)}})
    assert secrets.read(config).ring.find(TEXT)
    file(TEXT + "2")
    assert secrets.read(config).ring.find(TEXT) is None
    assert secrets.read(config).ring.find(TEXT + "2")


def test_a_file_that_everybody_may_write_is_no_secret(file):
    assert "chmod go-w" in faults({}, keys={"k": {"file": file(TEXT, 0o602)}})[0]


def test_every_fault_is_named_with_its_field_and_no_key(file, tmp_path):
    guessable = "hunter2"
    found = faults(
        {"SHORT": guessable},
        keys={
            "a": {"env": "NOWHERE"},
            "b": {"env": "SHORT"},
            "c": {"file": str(tmp_path / "nowhere")},
            "d": {"file": str(tmp_path)},
            "e": {"file": file(TEXT, 0o644)},
            "f": {"file": "/dev/null"},
        },
        token={"env": "NEITHER"},
    )
    assert [fault.split(":")[0] for fault in found] == [
        "access.keys.a.env",
        "access.keys.b.env",
        "access.keys.c.file",
        "access.keys.d.file",
        "access.keys.e.file",
        "access.keys.f.file",
        "access.token.env",
    ]
    assert guessable not in str(found)
    assert "7 characters" in found[1]
    assert "chmod o-r" in found[4]


def test_two_keys_that_are_the_same_are_named():
    same = {"hash": hash_of(TEXT)}
    assert "another's too" in faults(keys={"a": same, "b": same})[0]
    assert "another's too" in faults(keys={"a": same}, token=same)[0]
