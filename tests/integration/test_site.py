"""The documentation's site in a real browser: each page in light and dark, wide and narrow, asks no other host and fits its window."""

from __future__ import annotations

import subprocess  # noqa: TID251 - mkdocs is a program
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from blocks import ROOT
from playwright.sync_api import Page

pytestmark = pytest.mark.timeout(600)

WINDOWS = (("light", 1280), ("dark", 390))
FITS = "document.documentElement.scrollWidth <= innerWidth"
BROKEN = "[...document.images].filter(each => each.complete && !each.naturalWidth).map(each => each.src)"


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and says nothing of it."""

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "--quiet", "build", "--site-dir", str(directory)]
    done = subprocess.run(build, check=False, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return directory


@pytest.fixture(scope="module")
def origin(site) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def watched(page: Page, origin: str) -> list[str]:
    """Return what goes wrong in the page from now on."""
    wrong: list[str] = []

    def asked(url: str) -> None:
        if not url.startswith((f"{origin}/", "data:", "blob:")):
            wrong.append(f"it asks another host: {url}")

    page.on("request", lambda request: asked(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    return wrong


def test_each_page_is_whole_and_asks_no_other_host(site, origin, browser):
    names = [path.parent.relative_to(site).as_posix() for path in sorted(site.rglob("index.html"))]
    assert {".", "configuration", "errors", "states"} <= set(names)
    page = browser.new_page()
    wrong = watched(page, origin)
    for name in names:
        page.goto(f"{origin}/{name}/")
        for scheme, width in WINDOWS:
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": 900})
            page.wait_for_function(FITS)  # its scripts make wide tables scroll
        assert page.evaluate(BROKEN) == [], name
        assert wrong == [], name
    page.wait_for_load_state("networkidle")
    page.close()
    assert wrong == []


def test_the_schema_for_editors_is_on_the_site(site):
    assert (site / "config.schema.json").read_bytes() == (ROOT / "docs/config.schema.json").read_bytes()
