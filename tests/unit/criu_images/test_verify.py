"""A checkpoint whose manifest, images or side files are not what was captured."""

from __future__ import annotations

import json

import pytest
from worlds import everything, regular

from llmux.criu_images import read_manifest, verify
from llmux.criu_images.errors import ImagesDiffer, ManifestInvalid, ManifestMissing, SideFileDiffers


class TestVerify:
    @pytest.fixture
    def captured(self, world):
        (world.there / "x").write_text("content")
        world.capture(regular("/x", 7))
        assert verify(world.images) == read_manifest(world.images)
        return world

    def test_no_manifest(self, captured):
        (captured.images / "llmux-manifest.json").unlink()
        with pytest.raises(ManifestMissing, match="no manifest"):
            verify(captured.images)

    @pytest.mark.demand("foreign-manifest")
    def test_an_edited_manifest(self, captured):
        path = captured.images / "llmux-manifest.json"
        raw_manifest = json.loads(path.read_text())
        raw_manifest["files"][0]["metadata"]["uid"] += 1
        path.write_text(json.dumps(raw_manifest))
        with pytest.raises(ManifestInvalid, match="seal"):
            verify(captured.images)

    @pytest.mark.parametrize("data", [b"CORE", b"core and more", b""])
    @pytest.mark.demand("foreign-manifest")
    def test_another_image(self, captured, data):
        (captured.images / "core-1.img").write_bytes(data)
        with pytest.raises(ImagesDiffer, match=r"core-1\.img"):
            verify(captured.images)
        with pytest.raises(ImagesDiffer, match=r"core-1\.img"):
            captured.rebuild()
        with pytest.raises(ImagesDiffer, match=r"core-1\.img"):
            captured.plan()

    def test_a_missing_image(self, captured):
        (captured.images / "core-1.img").unlink()
        with pytest.raises(ImagesDiffer, match=r"core-1\.img: missing"):
            verify(captured.images)

    def test_an_image_too_many(self, captured):
        (captured.images / "core-2.img").touch()
        with pytest.raises(ImagesDiffer, match=r"core-2\.img: not in the manifest"):
            verify(captured.images)

    @pytest.mark.parametrize("data", [b"CONTENT", b"content and more", b""])
    def test_another_side_file(self, captured, data):
        (captured.images / "llmux/0").write_bytes(data)
        with pytest.raises(SideFileDiffers, match="llmux/0") as by_verify:
            verify(captured.images)
        with pytest.raises(SideFileDiffers, match="llmux/0") as by_rebuild:
            captured.rebuild()
        if len(data) != 7:
            assert str(by_verify.value) == str(by_rebuild.value)
        assert everything(captured.here) == set()

    def test_a_missing_side_file(self, captured):
        (captured.images / "llmux/0").unlink()
        with pytest.raises(SideFileDiffers, match="llmux/0: missing"):
            verify(captured.images)
        with pytest.raises(SideFileDiffers, match="llmux/0: missing"):
            captured.rebuild()
        assert everything(captured.here) == set()
