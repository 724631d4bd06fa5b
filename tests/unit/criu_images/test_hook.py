"""What CRIU sees of its action script: exit codes, lines on stderr, and that other stages cost nothing."""

from __future__ import annotations

import os
import subprocess  # noqa: TID251 - a Python of its own, as CRIU starts the hook
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from llmux.criu_images import ExitCode, _hook, _journal, _journals, capture, read_manifest, undo
from llmux.criu_images._capture import Subject, capture_subject, survey_place
from llmux.criu_images._inventory import Inventory, PathKind, PathReference
from llmux.criu_images._journal import Kind, Made, read_journal
from llmux.criu_images._paths import RawPath
from llmux.criu_images._records import Pid
from llmux.criu_images._safefs import Tree
from llmux.criu_images.errors import CaptureFailed

HEAVY = (
    "pydantic",
    "google.protobuf",
    "click",
    "typing",
    "dataclasses",
    "pathlib",
    "json",
    "llmux.criu_images.errors",
)


@pytest.fixture
def journals(tmp_path, monkeypatch):
    directory = tmp_path / "journals"
    monkeypatch.setattr(_journals, "DEFAULT_DIRECTORY", directory)
    monkeypatch.setattr(_hook, "JOURNALS", str(directory))
    return directory


@pytest.fixture
def hook(monkeypatch, capfd, journals):
    """Run the hook for a stage; return its exit code and its errors."""

    def run(stage: str | None, directory: Path | None = None):
        for name, value in (("CRTOOLS_SCRIPT_ACTION", stage), ("CRTOOLS_IMAGE_DIR", directory)):
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, str(value))
        try:
            _hook.main()
        except SystemExit as ended:
            return int(ended.code), capfd.readouterr().err
        return 0, capfd.readouterr().err

    return run


@pytest.fixture
def captured(tmp_path):
    """Give a file, gone since it was captured, and the images' directory."""
    return capture_log(tmp_path)


def capture_log(tmp_path: Path, *images_of_it: str) -> tuple[Path, Path]:
    images = tmp_path / "images"
    images.mkdir()
    for name in images_of_it:
        (images / name).touch()
    path = tmp_path / "app.log"
    path.write_text("logged")
    reference = PathReference(RawPath(os.fsencode(path)), PathKind.REGULAR, (), 6)
    inventory = Inventory((reference,), (), (), (), (), (), ())
    with Tree(Path("/")) as tree:
        capture_subject(Subject(inventory, Pid(1), frozenset()), images, survey_place(tree, 0), None)
    path.unlink()
    return path, images


@contextmanager
def sleeping_elsewhere(place: Path):
    """Run a process in a mount namespace of its own, which has another file system at `place`, with a log in it; give its id."""
    program = f"mount -t tmpfs none {place} && printf logged > {place}/log && echo ready && read _"
    sleeper = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with sleeper:
        assert sleeper.stdout.readline() == "ready\n"
        yield sleeper.pid


@pytest.mark.demand("post-dump", "version")
def test_a_dump_is_captured(maker, tmp_path, hook):
    log = tmp_path / "log"
    log.write_text("logged")
    maker.whole(maker.reg(3, str(log), size=6), fds={5: 3})
    Path(maker.directory, "dump.log").write_text("(00.000001) Version: 4.2.1 (gitid 0)\n")
    assert hook("post-dump", maker.directory) == (0, "")
    manifest = read_manifest(Path(maker.directory))
    assert manifest.host.criu == "4.2.1"
    assert (os.fsencode(log),) in [entry.names for entry in manifest.files if entry.carried]


def test_what_the_images_directory_refuses_fails_the_capture(maker, tmp_path):
    log = tmp_path / "log"
    log.write_text("logged")
    maker.whole(maker.reg(3, str(log), size=6), fds={5: 3})
    Path(maker.directory, "llmux").touch()
    with pytest.raises(CaptureFailed, match=f"cannot capture {maker.directory}: Not a directory"):
        capture(Path(maker.directory))


@pytest.mark.demand("post-dump")
def test_a_dump_that_lacks_a_file_fails(maker, hook):
    maker.whole(maker.reg(3, "/none/log"), fds={5: 3})
    code, errors = hook("post-dump", maker.directory)
    assert code == ExitCode.DAMAGED
    assert errors.startswith("llmux-criu-hook: cannot capture /none/log")
    assert errors.endswith(
        "llmux-criu-hook: CRIU fails the dump, so that the tree runs on and nothing is lost.\n"
    )


@pytest.mark.demand("pre-resume")
def test_a_restore_is_prepared_and_its_end_noted(captured, hook, journals):
    path, images = captured
    assert hook("pre-restore", images)[0] == 0
    assert path.read_text() == "logged"
    (journal,) = journals.iterdir()
    assert Kind.RESTORED not in [made.kind for made in read_journal(journal)]
    assert hook("pre-resume", images) == (0, "")
    assert read_journal(journal)[-1] == Made(Kind.RESTORED, ())


def test_a_restore_whose_program_never_gets_well_can_be_undone(captured, hook, journals):
    path, images = captured
    hook("pre-restore", images)
    hook("pre-resume", images)
    assert undo(images).removed == [os.fsencode(path)]
    assert not list(journals.iterdir())


def test_the_next_restore_begins_a_new_journal(captured, hook):
    path, images = captured
    hook("pre-restore", images)
    hook("pre-resume", images)
    assert hook("pre-restore", images)[0] == 0
    assert undo(images).removed == []
    assert path.read_text() == "logged"


@pytest.mark.demand("failed-restore")
def test_after_a_restore_that_failed_all_is_still_taken_back(captured, hook):
    path, images = captured
    hook("pre-restore", images)
    hook("pre-restore", images)
    assert undo(images).removed == [os.fsencode(path)]


def test_a_dump_with_a_mount_namespace_of_its_own_is_only_checked(tmp_path, hook, journals):
    path, images = capture_log(tmp_path, "mountpoints-12.img")
    assert hook("pre-restore", images) == (0, "")
    assert not path.exists()
    assert not journals.exists()
    (images / "llmux" / "0").unlink()
    code, errors = hook("pre-restore", images)
    assert code == ExitCode.DAMAGED
    assert "llmux/0" in errors


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a mount namespace")
def test_a_dump_is_captured_in_its_own_mount_namespace(maker, tmp_path, hook, monkeypatch):
    """What CRIU's own namespace has at the path does not count."""
    place = tmp_path / "place"
    place.mkdir()
    log = place / "log"
    log.write_text("another's log")
    maker.whole(maker.reg(3, str(log), size=6), fds={5: 3})
    with sleeping_elsewhere(place) as task:
        monkeypatch.setenv("CRTOOLS_INIT_PID", str(task))
        assert hook("post-dump", maker.directory) == (0, "")
    manifest = read_manifest(Path(maker.directory))
    assert [entry.size for entry in manifest.files if os.fsencode(log) in entry.names] == [6]


def test_namespaces_other_than_the_mounts_are_none_of_its_business(captured, hook, journals):
    path, images = captured
    assert hook("post-setup-namespaces", images) == (0, "")
    assert not path.exists()


@pytest.mark.demand("pre-restore")
def test_a_conflict_ends_the_restore(captured, hook):
    path, images = captured
    path.write_text("of another")
    code, errors = hook("pre-restore", images)
    assert code == ExitCode.CONFLICTS
    assert all(line.startswith("llmux-criu-hook: ") for line in errors.splitlines())
    assert f"{path}: has 10 bytes, the dump has 6" in errors
    assert f"`{sys.executable} -m llmux.criu_images plan {images}` says all that it needs" in errors


@pytest.mark.demand("foreign-manifest")
def test_a_directory_without_a_manifest_is_never_restored(tmp_path, hook):
    code, errors = hook("pre-restore", tmp_path)
    assert code == ExitCode.DAMAGED
    assert "no manifest" in errors


def test_messages_name_the_directory_itself_and_not_crius_descriptor(tmp_path, captured, hook):
    path, images = captured
    given = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    checkpoint = os.open(images, os.O_RDONLY | os.O_DIRECTORY)
    try:
        missing = hook("pre-restore", Path(f"/proc/{os.getpid()}/fd/{given}"))
        assert missing[1].startswith(f"llmux-criu-hook: {tmp_path}: no manifest. ")
        no_dump = hook("post-dump", Path(f"/proc/{os.getpid()}/fd/{given}"))
        assert no_dump[1].startswith(f"llmux-criu-hook: {tmp_path} is not a CRIU dump: ")
        (images / "llmux-manifest.json").chmod(0o666)
        refused = hook("pre-restore", Path(f"/proc/{os.getpid()}/fd/{checkpoint}"))
        assert f"llmux-criu-hook: {images}/llmux-manifest.json: every user may write" in refused[1]
    finally:
        os.close(given)
        os.close(checkpoint)
    assert "/proc/" not in missing[1] + no_dump[1] + refused[1]
    assert not path.exists()


def test_a_second_dump_into_a_directory_is_captured_in_place_of_the_first(maker, tmp_path, hook):
    log = tmp_path / "log"
    for dumped in ("first", "the second"):
        log.write_text(dumped)
        maker.whole(maker.reg(3, str(log), size=len(dumped)), fds={5: 3})
        assert hook("post-dump", maker.directory) == (0, "")
        assert Path(maker.directory, "llmux/0").read_text() == dumped
    log.write_text("later still")
    code, errors = hook("post-dump", maker.directory)
    assert (code, errors.count("\n")) == (ExitCode.WRONG_USE, 2)
    assert errors.startswith(f"llmux-criu-hook: {maker.directory}: this dump is captured already. ")
    assert Path(maker.directory, "llmux/0").read_text() == "the second"


def test_without_criu(hook):
    assert hook(None)[0] == 2
    assert hook("post-dump")[0] == 2


@pytest.mark.parametrize("content", [b"", b"{}", b'{"seal": "../../x"}', b'{"seal": 1}', b"[]"])
def test_noting_the_end_never_fails(tmp_path, hook, content):
    (tmp_path / "llmux-manifest.json").write_bytes(content)
    assert hook("pre-resume", tmp_path) == (0, "")


@pytest.mark.parametrize("stage", ["network-lock", "post-restore", "pre-resume"])
def test_other_stages_import_nothing_heavy(stage, captured):
    program = f"import sys; from llmux.criu_images._hook import main; main(); print([name for name in {HEAVY} if name in sys.modules])"
    environment = {"CRTOOLS_SCRIPT_ACTION": stage, "CRTOOLS_IMAGE_DIR": str(captured[1])}
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_a_restore_does_not_wait_for_what_only_reading_images_needs():
    needless = ("google", "click", "rich", "aiohttp", "llmux.server", "llmux.criu_images._records")
    program = f"import sys; import llmux.criu_images._rebuild; print([name for name in {needless} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_what_the_hook_writes_without_imports_is_what_the_journal_has():
    assert Path(_hook.JOURNALS) == Path("/run/llmux/journals") == _journals.DEFAULT_DIRECTORY
    assert _hook._journal_of("5ea1") == str(_journals.own_journal("5ea1"))
    assert _journal.format_line(Made(Kind.RESTORED, ())) == _hook.RESTORED_LINE
