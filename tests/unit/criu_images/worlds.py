"""A container whose files are captured and one to rebuild them in, both directories of a test's own."""

from __future__ import annotations

from pathlib import Path

from manifests import raw

from llmux.criu_images import plan, rebuild, undo
from llmux.criu_images._capture import Subject, capture_subject, survey_place
from llmux.criu_images._inventory import Inventory, PathKind, PathReference
from llmux.criu_images._records import Pid
from llmux.criu_images._safefs import Tree


class World:
    """A container `there` whose files are captured, one `here` to rebuild in, and the images between them."""

    def __init__(self, base: Path) -> None:
        self.there, self.here, self.images = base / "there", base / "here", base / "images"
        for directory in (self.there, self.here, self.images):
            directory.mkdir()
        self.journal = base / "journals/j.json"
        (self.images / "core-1.img").write_bytes(b"core")
        (self.images / "dump.log").write_bytes(b"not an image")

    def capture(self, *references: PathReference, started_ns: int = 0):
        inventory = Inventory(references, (), (), (), (), (), ())
        with Tree(self.there) as tree:
            place = survey_place(tree, started_ns)
            return capture_subject(Subject(inventory, Pid(1), frozenset()), self.images, place, None)

    def rebuild(self):
        return rebuild(self.images, root=self.here, journal=self.journal)

    def plan(self):
        return plan(self.images, root=self.here, journal=self.journal)

    def undo(self):
        return undo(self.images, root=self.here, journal=self.journal)


def regular(path: str, size: int | None = None, flags: int = 0, kind=PathKind.REGULAR) -> PathReference:
    return PathReference(raw(path), kind, (), size, flags=flags)


def everything(base: Path) -> set[str]:
    return {str(path.relative_to(base)) for path in base.rglob("*")}
