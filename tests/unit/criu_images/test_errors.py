from __future__ import annotations

from llmux.criu_images.errors import DamagedImage, ExitCode, NotADump, PycriuMissing, UnreadableImage


def test_a_damaged_image_says_where_and_what_to_do():
    error = DamagedImage("files.img", "is missing", entry=3, field="reg.name", offset=99)
    assert str(error) == (
        "damaged image: files.img, entry 3, field reg.name, byte 99: is missing. "
        "Make the dump again, or copy its images again in full."
    )


def test_places_that_are_not_known_are_left_out():
    assert DamagedImage("files.img", "empty", hint="").what() == str(
        DamagedImage("files.img", "empty", hint="")
    )
    assert str(DamagedImage("files.img", "empty", hint="")) == "damaged image: files.img: empty"


def test_paths_are_printable():
    assert "a\\nb" in str(NotADump("a\nb", "why"))
    assert "a\\xff" in str(UnreadableImage("a\udcff", "why"))


def test_exit_codes():
    assert DamagedImage("x", "y").exit_code is ExitCode.DAMAGED
    assert PycriuMissing(()).exit_code is ExitCode.WRONG_USE
