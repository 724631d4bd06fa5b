"""Where engines' objects are, and whose, outlives llmux; a file that is none is believed as far as it can be, and never breaks anything."""

from __future__ import annotations

import asyncio
import json
import os

import aiohttp
import pytest
from aiohttp import web

from llmux.server import _app, _homes_file
from llmux.server._gate import Gate
from llmux.server._homes import Home, Homes, Item
from llmux.server._homes_file import HomesFile
from llmux.server.access.keys import Key, digest
from llmux.server.access.policy import Access

FIRST, SECOND = Item("responses", "resp_1"), Item("files", "file/2")
HOME = Home("m", "m@2", "key a")


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    monkeypatch.setattr(_homes_file, "PAUSE", 0.01)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "objects.jsonl"


async def until(condition):
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - a file has no event
            await asyncio.sleep(0.01)


async def opened(path, most=100):
    kept = HomesFile(homes := Homes(most), path)
    await kept.open()
    return homes, kept


async def read_again(path):
    homes, kept = await opened(path)
    await kept.close()
    return dict(homes)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()[1:]]


async def test_what_is_known_outlives_a_restart(path):
    homes, kept = await opened(path)
    homes.note(FIRST, HOME)
    homes.note(SECOND, HOME)
    homes.forget(FIRST)
    await kept.close()
    assert await read_again(path) == {SECOND: HOME}
    assert [each.name for each in path.parent.iterdir()] == ["objects.jsonl"]
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


async def test_it_is_written_soon_and_not_only_in_the_end(path):
    homes, kept = await opened(path)
    for item in (FIRST, SECOND):
        homes.note(item, HOME)
        await until(lambda item=item: path.exists() and str(item) in path.read_text())
    await kept.close()


async def test_where_nothing_was_made_there_is_no_file(path):
    assert await read_again(path) == {}
    assert not path.exists()


async def test_it_does_not_grow_without_end(path, monkeypatch):
    monkeypatch.setattr(_homes_file, "_SPARE_LINES", 10)
    homes, kept = await opened(path, most=5)
    for number in range(200):
        homes.note(Item("files", f"{number}"), HOME)
        if number % 7 == 0:
            await asyncio.sleep(0.02)
    await kept.close()
    assert len(lines(path)) <= 2 * 5 + 10 + 14
    assert set(await read_again(path)) == {Item("files", f"{number}") for number in range(195, 200)}
    assert len(lines(path)) == 5


GOOD = json.dumps({"object": str(FIRST), "model": "m", "replica": "m@2", "owner": "key a"})


@pytest.mark.parametrize(
    "line",
    [
        "no JSON \x1b[2J",
        "[" * 5000,
        '"text"',
        "{}",
        '{"object": "responses/x", "model": "m", "replica": "m", "owner": 7}',
        '{"object": "responses/x", "model": "m", "replica": "m", "owner": "a", "more": 1}',
        '{"object": "horses/x", "model": "m", "replica": "m", "owner": "a"}',
        '{"object": "responses/", "model": "m", "replica": "m", "owner": "a"}',
        json.dumps({"object": "responses/" + "x" * 257, "model": "m", "replica": "m", "owner": "a"}),
        json.dumps({"object": "responses/x", "model": "m", "replica": "m", "owner": "a" * 513}),
        "x" * 16384 + GOOD.replace("resp_1", "x"),
        "\udcff",
    ],
)
async def test_a_line_that_is_none_is_told_of_and_all_others_hold(path, caplog, line):
    path.parent.mkdir()
    text = f'{{"version": 1}}\n{line}\n{GOOD}\n{GOOD[:30]}'
    path.write_bytes(text.encode(errors="surrogateescape"))
    assert await read_again(path) == {FIRST: HOME}
    assert "line 2:" in caplog.text
    assert "line 4: it is too long, or was not written to its end" in caplog.text
    assert "\x1b" not in caplog.text
    assert lines(path) == [json.loads(GOOD)]


async def test_not_every_line_is_told_of_one_by_one(path, caplog):
    path.parent.mkdir()
    path.write_text('{"version": 1}\n' + "{}\n" * 50 + GOOD + "\n")
    assert await read_again(path) == {FIRST: HOME}
    assert len(caplog.records) == 4
    assert "47 more lines" in caplog.text


async def test_of_a_file_without_end_a_part_is_read(path, caplog, monkeypatch):
    monkeypatch.setattr(_homes_file, "_MOST_LINES", 10)
    path.parent.mkdir()
    path.write_text('{"version": 1}\n' + (GOOD + "\n") * 50)
    assert await read_again(path) == {FIRST: HOME}
    assert "too many" in caplog.text


@pytest.mark.parametrize("text", ["", "\n", '{"version": 2}\n' + GOOD, GOOD])
async def test_a_file_of_something_else_is_not_used(path, caplog, text):
    path.parent.mkdir()
    path.write_text(text)
    assert await read_again(path) == {}
    assert "is none of this llmux's" in caplog.text


async def test_what_others_could_have_written_is_not_believed(path, caplog):
    path.parent.mkdir()
    path.write_text(f'{{"version": 1}}\n{GOOD}\n')
    path.chmod(0o660)
    assert await read_again(path) == {}
    assert "others may write to it (mode 0660)" in caplog.text
    assert path.stat().st_mode & 0o777 == 0o600


async def test_a_link_and_a_pipe_are_not_followed_nor_waited_for(path, tmp_path, caplog):
    path.parent.mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text(f'{{"version": 1}}\n{GOOD}\n')
    path.symlink_to(elsewhere)
    assert await read_again(path) == {}
    assert "symbolic links" in caplog.text
    path.unlink()
    os.mkfifo(path)
    assert await read_again(path) == {}
    assert "no regular file" in caplog.text
    assert elsewhere.read_text() == f'{{"version": 1}}\n{GOOD}\n'


@pytest.mark.root
async def test_anothers_file_is_not_believed(path, caplog):
    path.parent.mkdir()
    path.write_text(f'{{"version": 1}}\n{GOOD}\n')
    os.chown(path, 12345, -1)
    assert await read_again(path) == {}
    assert "it belongs to user 12345" in caplog.text


async def test_a_place_that_cannot_be_written_stops_nothing_and_is_tried_again(path, caplog, monkeypatch):
    monkeypatch.setattr(_homes_file, "_AGAIN", 0.01)
    path.parent.write_text("")
    homes, kept = await opened(path)
    homes.note(FIRST, HOME)
    await until(lambda: "cannot be kept" in caplog.text)
    homes.note(SECOND, HOME)
    path.parent.unlink()
    await until(path.exists)
    await kept.close()
    assert await read_again(path) == {FIRST: HOME, SECOND: HOME}


async def test_a_file_that_somebody_has_removed_is_made_anew(path, monkeypatch):
    monkeypatch.setattr(_homes_file, "_AGAIN", 0.01)
    homes, kept = await opened(path)
    homes.note(FIRST, HOME)
    await until(path.exists)
    path.unlink()
    homes.note(SECOND, HOME)
    await until(path.exists)
    await kept.close()
    assert await read_again(path) == {FIRST: HOME, SECOND: HOME}


async def _make(_request: web.Request) -> web.Response:
    return web.json_response({"id": "resp_1"})


async def test_a_key_reaches_its_own_after_a_restart(path, serve, make_driver, make_hands):
    upstream = web.Application()
    upstream.router.add_route("*", "/{path:.*}", _make)
    hands = make_hands(url=await serve(upstream))
    access = Access.of([Key("a", digest("a")), Key("b", digest("b"))])

    async def ask(key: str, method: str, asked: str) -> int:
        app = _app.build(make_driver({"m": hands}), gate=Gate(access))
        _homes_file.attach(app, path)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}{asked}"
        headers = {"Authorization": f"Bearer {key}"}
        said = {"model": "m"} if method == "POST" else None
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url, json=said, headers=headers) as answer,
        ):
            await answer.read()
        await runner.cleanup()
        return answer.status

    assert await ask("a", "POST", "/v1/responses") == 200
    assert await ask("b", "GET", "/v1/responses/resp_1") == 404
    assert await ask("a", "GET", "/v1/responses/resp_1") == 200
    assert await ask("a", "DELETE", "/v1/responses/resp_1") == 200
    assert await ask("a", "GET", "/v1/responses/resp_1") == 404
