"""What `llmux checkpoints show` makes of what the control API answers."""

from __future__ import annotations

from llmux.server._cli_checkpoint_report import contents_of, made_of
from llmux.server._client_answers import CheckpointShown, Contents, Missing

TASKS = [
    {"pid": 1000, "comm": "vllm", "threads": [1000, 1001]},
    {"pid": 1002, "comm": "sh", "threads": [1002]},
]
HERE = {"missing": []}


def rows(contents, missing=HERE):
    told = contents_of(Contents.model_validate({"tasks": TASKS} | contents), Missing.model_validate(missing))
    return list(told)


def test_one_that_cannot_be_used_says_why_and_nothing_that_is_not_known():
    problem = {"code": "checkpoint_invalid", "message": "its manifest is cut off", "hint": "Remove it"}
    shown = CheckpointShown.model_validate({"name": "m#2", "kind": "unusable", "problem": problem})
    assert list(made_of(shown)) == [
        ("checkpoint of", "m#2"),
        ("is", "unusable"),
        ("problem", "its manifest is cut off. Remove it"),
    ]


def test_a_criu_of_no_known_version_is_left_out():
    captured = {"host": "a", "kernel": "6.18", "llmux": "0.1.0", "carried_files": 0, "carried_bytes": 0}
    shown = {"name": "m", "kind": "published", "created_at": "2026-01-02T03:04:05Z", "age_seconds": 61.5}
    made = dict(made_of(CheckpointShown.model_validate(shown | {"captured": captured})))
    assert made["made"] == "2026-01-02 03:04:05 UTC, 62 s ago, by llmux 0.1.0 on Linux 6.18, in a"


def test_processes_and_what_nothing_is_said_of():
    assert rows({}) == [
        ("processes (2)", "vllm 1000, sh 1002; with 3 threads"),
        ("missing here", "nothing that a wake does not bring itself"),
    ]


def test_sockets_are_named_with_who_holds_them():
    users = [{"pid": 1000, "role": "fd", "number": 3}, {"pid": 1000, "role": "fd", "number": 4}]
    told = rows(
        {
            "unix_sockets": [
                {"binds": True, "bind_path": "/tmp/a", "name": "a", "users": users},
                {"binds": True, "bind_path": None, "name": "\\x00ray", "users": []},
                {"binds": False, "bind_path": None, "name": "a", "users": users},
            ],
            "inet_sockets": [{"protocol": 17, "source": "::1", "source_port": 53, "users": users}],
        }
    )
    assert told[1:-1] == [
        ("Unix sockets (2)", "/tmp/a of vllm 1000"),
        ("", "\\x00ray of nobody in it"),
        ("TCP and UDP (1)", "UDP [::1]:53 of vllm 1000"),
    ]


def test_what_a_restore_needs_and_what_is_not_as_it_was():
    told = rows(
        {
            "paths": [
                {"kind": "regular file"},
                {"kind": "socket"},
                {"kind": "regular file"},
                {"kind": "fifo"},
            ],
            "ids": [1000, 1001, 1002],
            "needs": [{"kind": "terminal", "what": "tty 0x7ea"}, {"kind": "GPU", "what": "one"}],
            "cautions": [{"what": "a lease is gone"}],
            "unknown": [{"image": "files.img", "entry": 3, "why": "a file of type 99"}],
        }
    )
    assert told[1:-1] == [
        ("must be there", "regular files (2), FIFOs (1)"),
        ("must be free (3)", "ids, from 1000 to 1002"),
        ("needs", "terminal: tty 0x7ea"),
        ("", "GPU: one"),
        ("not as it was", "a lease is gone"),
        ("not understood", "files.img: a file of type 99"),
    ]


def test_of_what_is_missing_that_is_named_which_somebody_else_must_bring():
    lost = [{"path": f"/opt/{number}", "mended_by": "the image"} for number in range(7)]
    own = {"path": "/dev/shm/psm", "mended_by": "rebuild"}
    assert rows({}, {"missing": [own, *lost]})[1:] == [
        ("missing here", "this, and nothing else that a wake does not bring itself (it brings 1)"),
        ("", "7 to be brought by the image: /opt/0, /opt/1, /opt/2, /opt/3, /opt/4 and 2 more"),
    ]
