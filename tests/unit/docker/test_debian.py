from llmux_setup.debian import parse_mirror, parse_os_release

INDEX_TARGETS = """\
bookworm-security http://mirror.example/debian-security/
bookworm-updates http://mirror.example/debian/
bookworm http://mirror.example/debian/
bookworm-backports http://other.example/debian/
"""


def test_mirror_is_the_releases_own_not_its_updates_or_security() -> None:
    assert parse_mirror(INDEX_TARGETS, "bookworm") == "http://mirror.example/debian/"


def test_mirror_is_none_where_no_source_serves_the_release() -> None:
    assert parse_mirror(INDEX_TARGETS, "trixie") is None
    assert parse_mirror("", "bookworm") is None


def test_os_release_values_come_with_and_without_quotes() -> None:
    text = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n# a comment=1\nID=debian\nVERSION_CODENAME='bookworm'\n"
    assert parse_os_release(text) == {
        "PRETTY_NAME": "Debian GNU/Linux 12 (bookworm)",
        "ID": "debian",
        "VERSION_CODENAME": "bookworm",
    }
