from __future__ import annotations

import pytest

from llmux.criu_images._explain import LONGEST_LINE, Outcome, explain_log
from llmux.criu_images._messages import Rank

PROBING = b"""\
(00.000029) Version: 4.2.1 (gitid 0)
(00.009876) Error (criu/tun.c:85): tun: Unable to create tun: No such file or directory
(00.010011) Error (criu/rlimit.c:17): rlimit: Can't setup RLIMIT_NOFILE for self: Operation not permitted
(00.011000) Warn  (criu/kerndat.c:1290): Can't keep kdat cache on non-tempfs
"""
MISSING = b"""\
(00.200000)   1000: Error (criu/files-reg.c:2155): Can't open file tmp/vllm.log on restore: No such file or directory
(100.20000   1000: Error (criu/files-reg.c:2100): Can't open file tmp/vllm.log: No such file or directory
(00.200001)   1000: Error (criu/files.c:1250): Unable to open fd=1 id=0x2
(00.300000) Error (criu/cr-restore.c:2324): Restoring FAILED.
"""
HOOK = b"""\
(00.100000) Running pre-restore scripts
llmux-criu-hook: warning: the kernel is another
llmux-criu-hook: cannot restore here:
llmux-criu-hook: /tmp/f: a directory. Move it away.
(00.500000) Error (criu/util.c:661): exited, status=1
(00.500001) Error (criu/action-scripts.c:94): Script /opt/llmux/bin/llmux-criu-hook exited with -1
(00.500002) Error (criu/action-scripts.c:156): One of more action scripts failed
(00.500003) Error (criu/cr-restore.c:2400): Aborting restore due to pre-restore script ret code -1
"""


def explain(log):
    return explain_log(log.splitlines(keepends=True))


def test_the_first_known_error_is_the_cause_with_its_line_task_and_path():
    found = explain(PROBING + MISSING)
    assert (found.outcome, found.operation, found.version) == (Outcome.FAILED, "restore", "4.2.1")
    assert found.cause is not None
    assert (found.cause.line, found.cause.pid, found.cause.place) == (5, 1000, "criu/files-reg.c:2155")
    assert found.cause.path == b"/tmp/vllm.log"
    assert found.cause.message.demand == "file"
    assert [finding.rank for finding in found.others] == [Rank.HARMLESS] * 2 + [Rank.EFFECT] * 3
    assert (found.lines, found.errors) == (8, 6)


def test_what_a_tasks_own_restorer_says_counts():
    log = b"(00.042300) pie: 10000: Error (criu/pie/restorer.c:2015): Unable to create a thread: -17\n"
    cause = explain(log).cause
    assert cause is not None
    assert (cause.pid, cause.message.demand, cause.match.errno) == (10000, "tid", "EEXIST")


def test_a_log_of_success_has_no_cause_whatever_criu_complained_of():
    found = explain(PROBING + b"(00.4) Restore finished successfully. Tasks resumed.\n")
    assert (found.outcome, found.operation, found.cause) == (Outcome.SUCCEEDED, "restore", None)


def test_a_log_with_few_words_and_harmless_errors_names_no_failure():
    log = b"Error (criu/tun.c:85): tun: Unable to create tun: No such file or directory\n"
    assert explain(log).outcome is Outcome.QUIET
    assert explain(b"").outcome is Outcome.QUIET


def test_a_log_with_details_that_ends_in_the_midst_is_unfinished():
    found = explain(PROBING + b"(00.2) Restoring file locks\n")
    assert found.outcome is Outcome.UNFINISHED
    assert found.cause is None
    assert found.tail[-1] == (5, b"(00.2) Restoring file locks")


def test_what_is_no_log_of_criu():
    assert explain(b"\x7fELF\0\0\nhello\n").outcome is Outcome.FOREIGN


def test_an_unknown_error_is_the_cause_where_no_known_one_is():
    log = PROBING + b"(00.1) Error (criu/new.c:7): The moon is in the wrong house\n" + MISSING[-60:]
    found = explain(log + b"(00.3) Error (criu/cr-restore.c:2324): Restoring FAILED.\n")
    assert found.cause.text == b"The moon is in the wrong house"
    assert found.cause.message is None
    assert found.cause.mends == ""


def test_a_known_error_comes_before_an_unknown_one_that_is_earlier():
    found = explain(b"(00.1) Error (criu/new.c:7): The moon is in the wrong house\n" + MISSING)
    assert found.cause.path == b"/tmp/vllm.log"
    assert found.others[0].message is None


def test_only_an_effect_is_better_than_nothing():
    found = explain(b"Error (criu/cr-dump.c:2128): Dumping FAILED.\n")
    assert (found.outcome, found.operation) == (Outcome.FAILED, "dump")
    assert found.cause.rank is Rank.EFFECT


def test_the_hook_that_refused_is_the_cause_in_its_own_words():
    found = explain(PROBING + HOOK)
    assert found.cause.line == 7
    assert found.cause.text == b"cannot restore here:\n/tmp/f: a directory. Move it away."
    assert found.cause.message.demand == "action-script"


def test_a_hook_that_warned_is_not_to_blame_for_what_came_later():
    found = explain(b"llmux-criu-hook: warning: the CPU is another\n" + MISSING)
    assert found.cause.path == b"/tmp/vllm.log"


def test_any_other_action_script_is_quoted():
    log = b"Traceback\n  boom\nError (criu/util.c:661): exited, status=1\nError (criu/action-scripts.c:94): Script /bin/mine exited with 256\n"
    found = explain(log)
    assert found.cause.facts["program"] == "/bin/mine"
    assert found.spoken == (b"Traceback", b"  boom")


def test_a_path_may_hold_newlines_and_any_byte():
    log = b"(00.2) Error (criu/files-reg.c:2155): Can't open file tmp/a\n\n\xff b on restore: No such file or directory\n"
    found = explain(log + b"(00.3) Error (criu/cr-restore.c:2324): Restoring FAILED.\n")
    assert found.cause.path == b"/tmp/a\n\n\xff b"
    assert found.cause.facts["path"] == r"/tmp/a\n\n\xff b"
    assert found.others[0].text == b"Restoring FAILED."


def test_a_text_of_two_lines_is_known_by_the_first():
    log = b"Error (criu/files-reg.c:1): File root has bad mode 040755 (expect 040700)\nFile r/w/x checks can be skipped with the --skip-file-rwx-check option\n"
    found = explain(log)
    assert found.cause.facts == {"path": "/root", "found": "040755", "expected": "040700"}


@pytest.mark.parametrize(
    ("text", "demand", "word"),
    [
        ("Unknown shit 600 (anon_inode:[io_uring])", "io-uring", "seccomp"),
        ("Can't dump file 17 of that type [20666] (chr 195:255)", "nvidia", "cuda-checkpoint"),
        ("Can't dump file 17 of that type [20666] (chr 506:0)", "device", "--libdir"),
        ("Can't fork for 25069: File exists", "pid", "ns_last_pid"),
        ("Unable to create a thread: -17", "tid", "ns_last_pid"),
        ("inet: Can't bind inet socket (id 5): Address already in use", "tcp-listen", "ss -lntup"),
        ("File root has bad mode 040755 (expect 040700)", "file-mode", "chmod"),
        ("Can't get rlimit 0: Operation not permitted", "rlimits", "CAP_SYS_RESOURCE"),
        ("vdso: Unexpected rt vDSO area bounds", "vdso", "4.2"),
        ("sockets: Can't get 1:16 opt: Operation not supported", "kernel", "4.2"),
        ("cpu: CPU instruction capabilities do not match run time", "cpu", "processor"),
        ("Can't dump ghost file /tmp/x of 9 size, increase limit", "ghost-limit", "--ghost-limit"),
        ("Task 7 with SysVIPC shmem map @7f00 doesn't live in IPC ns", "sysv-shared", "unshare --ipc"),
        ("page-xfer: Unable to spice data: No space left on device", "disk", "Make room"),
        ("The moon: Operation not permitted", None, "capability"),
    ],
)  # fmt: skip
def test_known_failures(text, demand, word):
    cause = explain(f"(00.1) Error (criu/x.c:1): {text}\n".encode()).cause
    assert (None if cause.message is None else cause.message.demand) == demand
    assert word in cause.mends


def test_lines_are_bounded_and_so_is_what_is_kept():
    long = b"(00.1) Error (criu/x.c:1): " + b"x" * 100_000 + b"\n"
    found = explain_log([long, *[b"(00.1) Error (criu/x.c:1): again\n"] * 2000])
    assert len(found.cause.text) < LONGEST_LINE
    assert found.errors == 2001
    assert len(found.others) < 1000
