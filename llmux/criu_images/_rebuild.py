"""Before a restore: carries out the plan with a journal; and takes it back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from llmux.criu_images._actions import HoldBindPoint, MaskWithCopy, PlaceFile, Plan
from llmux.criu_images._build import Builder
from llmux.criu_images._checkpoint import open_directory, open_side_directory
from llmux.criu_images._facts import Facts
from llmux.criu_images._hold import end_holder, renew_holder, start_holder
from llmux.criu_images._journal import (
    Journal,
    Kind,
    Made,
    cut_short,
    locked,
    read_journal,
    settle,
    settle_restored,
)
from llmux.criu_images._journals import journal_to_undo, own_journal
from llmux.criu_images._keep import Kept
from llmux.criu_images._ledger import remember
from llmux.criu_images._plan import free_leftovers, free_paths, make_plan
from llmux.criu_images._policy import DEFAULT, Policy
from llmux.criu_images._progress import Listener, Meter, Phase, ignore, passing_on
from llmux.criu_images._safefs import Tree
from llmux.criu_images._survey import survey
from llmux.criu_images._times import earlier_times
from llmux.criu_images._undo import Undone, take_back
from llmux.criu_images._verify import check_images, check_unchanged, open_to_all, read_manifest
from llmux.criu_images.errors import (
    CriuImagesError,
    HolderFailed,
    RebuildFailed,
    RebuildRefused,
    SideFileDiffers,
)
from llmux.criu_images.manifest import FreeKind, Manifest

_ROOT = Path("/")


@passing_on()
def plan(
    directory: Path,
    *,
    root: Path = _ROOT,
    journal: Path | None = None,
    policy: Policy = DEFAULT,
    progress: Listener = ignore,
) -> Plan:
    """Work out what `rebuild` would do here and now, and change nothing.

    `progress` is told how far it is. Raises ImagesDiffer and what `read_manifest` and `progress` raise.
    """
    manifest = read_manifest(directory)
    check_images(directory, manifest, progress)
    with Tree(root) as tree:
        facts = survey(manifest, tree, journal or own_journal(manifest.seal), progress, root=root)
    return _plan(directory, manifest, facts, policy)


@passing_on()
def rebuild(  # noqa: PLR0913 - each is the caller's own choice
    directory: Path,
    *,
    root: Path = _ROOT,
    journal: Path | None = None,
    policy: Policy = DEFAULT,
    restorer: int | None = None,
    progress: Listener = ignore,
    task: int | None = None,
) -> Plan:
    """Make what the dump in `directory` needs and is missing below `root`, and return the plan that was carried out.

    Run it in the mount and PID namespace of the restore to come. What exists is never overwritten or changed; done twice it is done once.
    `policy` says what becomes of a file that is here and differs. `restorer` is the PID of the CRIU that is about to restore, if it runs
    already: a process that holds a bind point for it leaves when it fails; else that waits for `finish` or `undo`, for ten minutes at most.
    `progress` is told how far it is; where it raises, that is raised, once what was made has been taken back.
    `task` is the root task that waits in the restore's namespaces, where those are not this process's and `root` is in them.
    Raises RebuildRefused (there are conflicts; nothing was touched), RebuildFailed, HolderFailed, SideFileDiffers (what was made has been
    taken back), ImagesDiffer, JournalInvalid and what `read_manifest` raises.
    """
    manifest = read_manifest(directory)
    stamps = check_images(directory, manifest, progress)
    journal = journal or own_journal(manifest.seal, task)
    with locked(journal), Tree(root) as tree, Kept(manifest) as kept:
        renew_holder(journal, restorer)
        # A rebuild that was killed may have left a directory without its mode, a file without its flags.
        take_back(tree, cut_short(read_journal(journal)))
        facts = survey(manifest, tree, journal, progress, root=root, task=task)
        made = _plan(directory, manifest, facts, policy)
        if made.conflicts:
            raise RebuildRefused(tuple(map(str, made.conflicts)))
        points = [action for action in made.actions if isinstance(action, HoldBindPoint)]
        if points and task is not None:
            raise HolderFailed(points[0].path, "CRIU restores this dump in namespaces of its own")
        settle_restored(journal)
        with _journal_to_undo_by(tree, journal) as lines:
            meter = Meter(progress, Phase.PLACE, _sizes(made))
            with _builder(directory, tree, lines, journal, meter, kept=kept) as builder:
                _build(made, builder)
                _keep(kept, tree)
                check_unchanged(directory, stamps)
                for line in _expected(manifest, facts):
                    lines.add(line)
                held = kept.fds if restorer is not None and task is None else {}
                if points or held:
                    start_holder(points, tree, journal, manifest.ids, restorer, kept=held)
            lines.add(Made(Kind.BUILT, ()))
        with suppress(OSError):  # not known to be made, it is not replaced: a conflict next time, and no harm
            remember(journal.parent, tree, read_journal(journal), facts.mounts)
    return made


def undo(directory: Path, *, root: Path = _ROOT, journal: Path | None = None) -> Undone:
    """Take back what the rebuilds of `directory` since the last `finish` have made and nobody has changed.

    A restore that CRIU finished and that is of no use all the same (its program never got healthy) is taken back too, once its
    tree has been ended. The times of the directories that were there are put back too. Raises JournalInvalid and what `read_manifest` raises.
    """
    journal = journal or journal_to_undo(read_manifest(directory).seal, root)
    with locked(journal), Tree(root) as tree:
        lines = read_journal(journal)
        times = earlier_times(tree, lines)
        end_holder(journal)
        undone = take_back(tree, lines, times)
        settle(journal)
    return undone


def _plan(directory: Path, manifest: Manifest, facts: Facts, policy: Policy) -> Plan:
    made = make_plan(manifest, facts, policy)
    return replace(made, conflicts=(*open_to_all(directory), *made.conflicts))


def _expected(manifest: Manifest, facts: Facts) -> tuple[Made, ...]:
    """Return what the restore itself is going to make, so that an undo also clears what a failed one leaves."""
    sockets = tuple(name for name in manifest.free_names if name.kind is FreeKind.SOCKET)
    lines = (
        Made(Kind.SOCKET, free_paths(sockets, facts)),
        Made(Kind.LEFTOVER, free_leftovers(manifest.free_names, facts)),
    )
    return tuple(line for line in lines if line.paths)


@contextmanager
def _journal_to_undo_by(tree: Tree, journal_path: Path) -> Iterator[Journal]:
    """Give a rebuild its journal; take back what it made if it fails."""
    already = len(read_journal(journal_path))
    journal = Journal(journal_path)
    try:
        yield journal
    except BaseException:
        undone = take_back(tree, read_journal(journal_path)[already:])
        if not undone.left and already == 0:
            settle(journal_path)
        raise
    finally:
        journal.close()


def _sizes(plan_: Plan) -> Iterator[int]:
    """Yield the size of each file that is to be copied."""
    for action in plan_.actions:
        match action:
            case PlaceFile(entry, existing=None) | MaskWithCopy(entry):
                yield entry.size
            case _:
                pass


@contextmanager
def _builder(  # noqa: PLR0913 - what a builder works with
    directory: Path, tree: Tree, lines: Journal, journal: Path, meter: Meter, *, kept: Kept
) -> Iterator[Builder]:
    with _side_directory(directory) as side:
        builder = Builder(tree, side, lines, journal.parent / "masks", meter, kept=kept)
        try:
            yield builder
        finally:
            builder.note_directories()


def _build(plan_: Plan, builder: Builder) -> None:
    for action in plan_.actions:
        with _explained(action.path):
            builder.do(action)
    with _explained(b"/"):
        builder.finish()


def _keep(kept: Kept, tree: Tree) -> None:
    path = b"/"
    try:
        for path in kept.take_all(tree):  # noqa: B007 - for the error
            pass
    except OSError as error:
        raise RebuildFailed(path, error.strerror or str(error)) from error


@contextmanager
def _side_directory(directory: Path) -> Iterator[int]:
    """Open the side files' directory; that of the images where a manifest carries no file and there is none."""
    with ExitStack() as stack:
        images = stack.enter_context(open_directory(directory))
        try:
            side = stack.enter_context(open_side_directory(images))
        except FileNotFoundError:
            side = images
        except OSError as error:
            raise SideFileDiffers("", error.strerror or str(error)) from error
        yield side


@contextmanager
def _explained(path: bytes) -> Iterator[None]:
    try:
        yield
    except CriuImagesError:
        raise
    except OSError as error:
        raise RebuildFailed(path, error.strerror or str(error)) from error
