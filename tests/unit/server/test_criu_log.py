from __future__ import annotations

import pytest

from llmux.server._criu_log import diagnose, duration_of, version_of

PROBING = """\
(00.000029) Version: 4.2.1 (gitid 0)
(00.009876) Error (criu/tun.c:85): tun: Unable to create tun: No such file or directory
(00.010011) Error (criu/rlimit.c:17): rlimit: Can't setup RLIMIT_NOFILE for self: Operation not permitted
(00.011000) Warn  (criu/kerndat.c:1290): Can't keep kdat cache on non-tempfs
"""
CONNECTED = """\
(00.123) Error (criu/sk-unix.c:902): unix: Can't dump half of stream unix connection. name: /tmp/s; peer name: (null)
(00.125) Error (criu/cr-dump.c:2128): Dumping FAILED.
"""
FULL = """\
(00.300001) Error (criu/page-xfer.c:300): page-xfer: Unable to spice data: No space left on device
(00.300002) Error (criu/cr-dump.c:1): Can't dump page with parasite
(00.400000) Error (criu/cr-dump.c:2128): Dumping FAILED.
"""
TASK = """\
(00.200000)   1000: Error (criu/files-reg.c:2155): Can't open file tmp/vllm.log on restore: No such file or directory
(100.20000)   1000: Error (criu/files-reg.c:2100): Can't open file tmp/vllm.log
(00.300000) Error (criu/cr-restore.c:2324): Restoring FAILED.
"""
HOOK = """\
(00.100000) Running pre-restore scripts
llmux-criu-hook: warning: the kernel is another
llmux-criu-hook: cannot restore here:
llmux-criu-hook: /tmp/f: a directory. Move it away.
(00.500000) Error (criu/util.c:661): exited, status=1
(00.500001) Error (criu/action-scripts.c:94): Script /opt/llmux/bin/llmux-criu-hook exited with -1
(00.500002) Error (criu/action-scripts.c:156): One of more action scripts failed
(00.500003) Error (criu/cr-restore.c:2400): Aborting restore due to pre-restore script ret code -1
"""


def test_what_criu_finds_lacking_while_it_probes_is_no_reason():
    found = diagnose(PROBING + CONNECTED)
    assert found.reason == "unix: Can't dump half of stream unix connection. name: /tmp/s; peer name: (null)"
    assert "Close that connection" in found.hint
    assert len(found.errors) == 4


def test_the_first_error_is_the_reason_and_the_first_known_one_gives_the_hint():
    found = diagnose(PROBING + FULL)
    assert found.reason.endswith("No space left on device")
    assert "Make room" in found.hint


def test_a_restored_tasks_errors_count():
    found = diagnose(TASK)
    assert found.reason == "Can't open file tmp/vllm.log on restore: No such file or directory"
    assert "llmux.criu_images plan" in found.hint
    assert len(found.errors) == 3


def test_a_hook_that_failed_says_why_itself():
    found = diagnose(PROBING + HOOK)
    assert found.reason == "cannot restore here: /tmp/f: a directory. Move it away"
    assert found.hint == ""


def test_a_hook_that_warned_is_not_to_blame_for_what_came_later():
    found = diagnose("llmux-criu-hook: the CPU is another\n" + TASK)
    assert found.reason.startswith("Can't open file")


NEEDED = "CRIU needs to have the CAP_SYS_ADMIN or the CAP_CHECKPOINT_RESTORE capability:"
SETCAP = "setcap cap_checkpoint_restore+eip /usr/sbin/criu"


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (f"{NEEDED} \n{SETCAP}\n", f"{NEEDED} {SETCAP}"),
        ("(00.000029) Version: 4.2.1 (gitid 0)\nllmux-criu-hook: warning: no\nKilled\n", "Killed"),
    ],
)
def test_where_no_error_is_logged_what_criu_printed_is_the_reason(log, said):
    assert diagnose(log).reason == said
    assert diagnose(PROBING + log).reason.startswith("tun: ")


@pytest.mark.parametrize("log", ["", "(00.000029) Version: 4.2.1 (gitid 0)\n", "\0\n\x01"])
def test_a_log_without_errors_gives_a_reason_all_the_same(log):
    assert diagnose(log).reason == "it left no error in its log"


def test_only_harmless_errors_are_better_than_none():
    assert diagnose(PROBING).reason == "tun: Unable to create tun: No such file or directory"


@pytest.mark.parametrize(
    ("message", "word"),
    [
        ("Unknown shit 600 (anon_inode:[io_uring])", "io_uring"),
        ("Can't fork for 25069: File exists", "PID namespace"),
        ("Unable to create a thread: -17", "PID namespace"),
        ("inet: Can't bind inet socket (id 5): Address already in use", "ss -lntup"),
        ("File root has bad mode 040755 (expect 040700)", "llmux.criu_images plan"),
        ("Can't get rlimit 0", "CAP_SYS_RESOURCE"),
        ("vdso: Unexpected rt vDSO area bounds", "4.2"),
        ("sockets: Can't get 1:16 opt: Operation not supported", "4.2"),
        ("cpu: CPU instruction capabilities do not match run time", "processor"),
        ("Can't dump ghost file /tmp/x of 9 size, increase limit", "--ghost-limit"),
        ("Task 7 with SysVIPC shmem map @7f00 doesn't live in IPC ns", "unshare --ipc"),
    ],
)
def test_known_messages_have_a_hint(message, word):
    assert word in diagnose(f"(00.1) Error (criu/x.c:1): {message}\n").hint


def test_an_unknown_message_has_none():
    assert diagnose("Error (criu/x.c:1): the moon is in the wrong house\n").hint == ""


@pytest.mark.parametrize(
    ("text", "version"),
    [("Version: 4.2.1\nGitID: v4.2.1\n", (4, 2, 1)), ("Version: 3.17\n", (3, 17)), ("true (GNU)", ())],
)
def test_version(text, version):
    assert version_of(text) == version


def test_duration():
    log = "Displaying dump stats:\nFreezing time: 341 us\nFrozen time: 421228 us\n"
    assert duration_of(log, "Frozen time") == pytest.approx(0.421228)
    assert duration_of(log, "Memory dump time") is None
