"""The page's files: served as they are shipped, under a policy that lets the browser load nothing else."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib.resources import files

import aiohttp
import pytest
from aiohttp import web

from llmux.server import _page


@pytest.fixture
async def client(serve):
    app = web.Application()
    _page.add_to(app)
    async with aiohttp.ClientSession(await serve(app)) as session:
        yield session


async def test_each_file_is_served_with_its_type_and_the_policy(client):
    for name, kind in (
        ("", "text/html"),
        ("app.js", "text/javascript"),
        ("vendor/preact.mjs", "text/javascript"),
        ("style.css", "text/css"),
    ):
        async with client.get(f"/ui/{name}") as response:
            assert (response.status, response.content_type) == (200, kind)
            assert "default-src 'none'" in response.headers["Content-Security-Policy"]
            assert (
                await response.read()
                == (files("llmux.server") / "page" / (name or "index.html")).read_bytes()
            )


async def test_the_only_inline_script_is_let_in_by_its_digest(client):
    async with client.get("/ui/") as response:
        (inline,) = re.findall(r"<script[^>]*>([^<]+)</script>", await response.text())
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in response.headers["Content-Security-Policy"]


async def test_nothing_in_it_names_another_host(client):
    page = files("llmux.server") / "page"
    for file in (page, page / "vendor"):
        for each in file.iterdir():
            if each.is_file() and each.name.endswith((".html", ".js", ".mjs", ".css")):
                named = set(re.findall(r"https?://[a-z0-9.-]+", each.read_text()))
                assert named <= {"http://www.w3.org"}, each.name  # XML name spaces


async def test_a_page_that_has_not_changed_is_not_sent_again(client):
    async with (
        client.get("/ui/app.js") as first,
        client.get("/ui/app.js", headers={"If-None-Match": first.headers["ETag"]}) as second,
    ):
        assert (second.status, await second.read()) == (304, b"")


async def test_the_root_leads_to_the_page_and_no_browser_keeps_that(client):
    async with client.get("/") as response:
        assert (response.status, response.url.path) == (200, "/ui/")
        assert [each.status for each in response.history] == [307]
    async with client.post("/") as response:
        assert response.status == 405


async def test_ui_leads_to_the_page_and_unknown_files_nowhere(client):
    async with client.get("/ui") as response:
        assert (response.status, str(response.url.path)) == (200, "/ui/")
    for name in ("nothing.js", "../_page.py", "vendor", "%2e%2e/_page.py"):
        async with client.get(f"/ui/{name}") as response:
            assert response.status == 404
