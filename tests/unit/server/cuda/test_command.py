"""cuda-checkpoint's command line."""

from uuid import UUID

import pytest

from llmux.server.cuda._command import HELP, Operation, Pair, Request, UsageError, parse

OLD, NEW = "GPU-eea0d83f-ebcd-ac27-6b3e-bec2a19724e6", "GPU-8f4022ba-e0cb-1298-286e-225c953a7feb"


@pytest.mark.parametrize(
    ("words", "request_"),
    [
        ("--get-state --pid 7", Request(Operation.GET_STATE, 7)),
        ("-p 7 --get-restore-tid", Request(Operation.GET_RESTORE_TID, 7)),
        ("--action lock --pid=7 --timeout 100", Request(Operation.LOCK, 7, 100)),
        ("--action checkpoint -p 7", Request(Operation.CHECKPOINT, 7)),
        ("--toggle -p 7 -t 5", Request(Operation.TOGGLE, 7, 5)),
        ("--action=unlock --pid 7", Request(Operation.UNLOCK, 7)),
        ("--help", Request(Operation.HELP)),
        ("-h --pid 7 --toggle", Request(Operation.HELP)),
        (
            f"--action restore --pid 7 -d {OLD}={NEW}",
            Request(Operation.RESTORE, 7, device_map=(Pair(UUID(OLD[4:]), UUID(NEW[4:])),)),
        ),
    ],
)
def test_what_is_asked_for(words, request_):
    assert parse(words.split()) == request_


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("", "one of --get-state, --action"),
        ("--toggle --get-state --pid 7", "one of --get-state"),
        ("--get-state", "--pid is needed"),
        ("--get-state --pid", "--pid needs a value"),
        ("--get-state --pid 0", "--pid is a number from 1"),
        ("--get-state --pid -1", "--pid is a number"),
        ("--get-state --pid ٣", "--pid is a number"),
        ("--get-state --pid 2147483648", "to 2147483647"),
        ("--action sleep --pid 7", "--action is lock | checkpoint | restore | unlock, not 'sleep'"),
        ("--action unlock --pid 7 --timeout 5", "--timeout is for"),
        (f"--action lock --pid 7 -d {OLD}={NEW}", "--device-map is for"),
        ("--action restore --pid 7 -d x", "--device-map is OLD=NEW"),
        ("--action restore --pid 7 -d x=y", "'x' is no GPU's UUID"),
        (f"--action restore --pid 7 -d {OLD}=MIG-1", "a part of a GPU (MIG)"),
        (f"--action restore --pid 7 -d {OLD}={NEW},{OLD}={OLD}", "names a GPU twice"),
        ("--launch-job x", "unknown option '--launch-job'"),
    ],
)
def test_what_says_nothing_is_refused(words, why):
    with pytest.raises(UsageError, match=None) as refused:
        parse(words.split())
    assert why in str(refused.value)


def test_crius_plugin_finds_in_the_help_what_it_looks_for():
    assert "--action" in HELP
    assert "--get-restore-tid" in HELP
