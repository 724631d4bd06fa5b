"""The page for each kind of key, and while llmux goes away and comes back: in a real browser before a real llmux."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess  # noqa: TID251 - llmux as its users start it
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect
from ports import free_port

from llmux.server import _words
from llmux.server._capacity import size
from llmux.server.access.keys import hash_of
from llmux.tiny_engine._train import CORPUS, train

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]

SECONDS = 60_000  # ms; a busy machine is slow
WCAG = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
ROLES = ("use", "observe", "control", "admin")
VIEWS = {
    "use": ["Playground"],
    "observe": ["Overview", "Requests", "Checkpoints"],
    "control": ["Overview", "Playground", "Requests", "Checkpoints", "Logs"],
    "admin": ["Overview", "Playground", "Requests", "Checkpoints", "Logs"],
}


def key_of(role: str) -> str:
    return f"the-key-of-{role}-for-this-test"


class Llmux:
    """One that can be ended and started again on the same port."""

    def __init__(self, place: Path, port: int) -> None:
        self.place, self.port = place, port
        self.origin = f"http://127.0.0.1:{port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "llmux.server", "serve", "--config", str(self.place / "config.json")]
        with (self.place / "llmux.log").open("a") as log:
            self.process = subprocess.Popen(command, stderr=log)
        end = time.monotonic() + 120  # a busy machine is slow
        while not self._answers():
            assert time.monotonic() < end, (self.place / "llmux.log").read_text()
            assert self.process.poll() is None, (self.place / "llmux.log").read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(60)
            self.process = None

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture(scope="module")
def llmux(tmp_path_factory) -> Iterator[Llmux]:
    """Give a llmux with a key for each role and two models, of which one at a time is awake."""
    place: Path = tmp_path_factory.mktemp("page")
    train(place / "model", [CORPUS.read_text()[:3000]], 0, epochs=1)

    def model() -> dict[str, object]:
        return {
            "model_path": str(place / "model"),
            "engine": "tiny",
            "port": free_port(),
            "eviction": {"process": "stop"},
            "extra_args": ["--token-delay", "0.02"],
        }

    keys = {role: {"hash": hash_of(key_of(role)), "role": role} for role in ROLES}
    keys["use"] |= {"models": ["lighthouse"], "requests_per_minute": 60}
    config = {
        # What harbour says has no end but at its most tokens.
        "models": {"lighthouse": model(), "harbour": model() | {"request_defaults": {"ignore_eos": True}}},
        "max_awake": 1,
        "checkpoint": {"images_dir": str(place / "images")},
        "log_dir": str(place / "log"),
        "state_dir": str(place / "state"),
        "host": "127.0.0.1",
        "port": free_port(),
        "engines_at_exit": "stop",
        "access": {"keys": keys},
    }
    (place / "config.json").write_text(json.dumps(config))
    running = Llmux(place, config["port"])
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture
def visit(browser, llmux) -> Iterator[Callable[..., Page]]:
    """Give a function that opens the page, with the key of a role typed in."""
    opened: list[Page] = []
    wrong: list[str] = []

    def open_one(role: str | None = None, view: str = "", **how: object) -> Page:
        page = browser.new_page(**how)
        opened.append(page)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda each: each.url.startswith(llmux.origin) or wrong.append(each.url))
        page.goto(f"{llmux.origin}/ui/#{view}")
        if role:
            page.get_by_label("Key").fill(key_of(role), timeout=SECONDS)
            page.get_by_role("button", name="Enter", exact=True).click()
            expect(page.locator(".who-am-i")).to_contain_text(f"{role}: {role}", timeout=SECONDS)
        return page

    yield open_one
    for page in opened:
        page.close()
    assert wrong == []


@pytest.mark.parametrize("role", ROLES)
def test_a_key_sees_what_it_may_and_no_more(visit, role):
    page = visit(role)
    links = page.get_by_role("navigation").get_by_role("link")
    expect(links).to_have_text(VIEWS[role], timeout=SECONDS)
    may_rule = role in {"control", "admin"}
    if role != "use":
        expect(page.locator('[data-model="harbour"]')).to_be_visible(timeout=SECONDS)
        expect(page.get_by_role("button", name="Wake harbour")).to_have_count(int(may_rule))
        expect(page.get_by_role("button", name="Switch to manual")).to_have_count(int(may_rule))
    assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]


@pytest.mark.parametrize("place", ["%", "logs/%E0%A4", "nowhere", "constructor", "playground%"])
def test_an_address_that_leads_nowhere_leads_to_the_start(visit, place):
    page = visit("admin", place)
    expect(page.locator('[data-model="harbour"]')).to_be_visible(timeout=SECONDS)
    page.get_by_role("link", name="Requests").click()
    expect(page.get_by_role("heading", name="The latest that are over")).to_be_visible(timeout=SECONDS)
    page.evaluate(f"location.hash = {place!r}")
    expect(page.locator('[data-model="harbour"]')).to_be_visible(timeout=SECONDS)


def test_to_skip_to_the_content_is_to_stay(visit):
    page = visit("admin", "requests")
    over = page.get_by_role("heading", name="The latest that are over")
    expect(over).to_be_visible(timeout=SECONDS)
    page.get_by_role("link", name="Skip to the content").press("Enter")
    expect(page.locator("main")).to_be_focused()
    expect(over).to_be_visible()


def test_a_key_to_use_chats_with_its_models_and_sees_what_is_left(visit):
    page = visit("use")
    expect(page.get_by_label("Model").get_by_role("option")).to_have_text(["lighthouse"], timeout=SECONDS)
    page.get_by_label("Message").fill("What is a lighthouse?")
    page.get_by_label("Message").press("Enter")
    expect(page.locator("[data-waiting]")).to_be_visible()
    expect(page.locator("[data-figures]")).to_contain_text(re.compile("cold|warm"), timeout=SECONDS)
    expect(page.locator("[data-figures]")).to_contain_text("a second")
    expect(page.locator(".who-am-i")).to_contain_text("of 60 requests left this minute")


def test_a_wrong_key_is_said_and_asked_for_again(visit):
    page = visit()
    page.get_by_label("Key").fill("no such key", timeout=SECONDS)
    page.get_by_role("button", name="Enter", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("no llmux key has this text", timeout=SECONDS)
    page.get_by_label("Key").fill(key_of("observe"))
    page.get_by_label("Key").press("Enter")
    expect(page.locator('[data-model="harbour"]')).to_be_visible(timeout=SECONDS)
    page.get_by_role("button", name="Forget key").click()
    expect(page.get_by_role("heading", name="This llmux asks for a key")).to_be_visible(timeout=SECONDS)
    assert page.evaluate("sessionStorage.length") == 0


def test_a_chat_stays_while_one_looks_elsewhere(visit):
    page = visit("control", "playground")
    page.get_by_label("Message").fill("What is a lens?", timeout=SECONDS)
    page.get_by_role("button", name="Send").click()
    page.get_by_role("link", name="Overview").click()
    expect(page.locator('[data-model="lighthouse"] .state')).to_have_text("awake", timeout=SECONDS)
    page.get_by_role("link", name="Playground").click()
    expect(page.locator("[data-figures]")).to_contain_text("first token", timeout=SECONDS)


def test_requests_are_shown_cancelled_and_remembered(visit):
    page = visit("control", "playground")
    page.get_by_label("Model").select_option("harbour", timeout=SECONDS)
    page.get_by_text("How it is to answer").click()
    page.get_by_label("Tokens at most").fill("4000")
    page.get_by_label("Message").fill("Tell me everything")
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".chat .assistant .text")).not_to_be_empty(timeout=SECONDS)
    page.get_by_role("link", name="Requests").click()
    page.get_by_role("button", name=re.compile("Cancel request")).first.click(timeout=SECONDS)
    expect(page.get_by_text("None at the moment.")).to_be_visible(timeout=SECONDS)
    over = page.get_by_role("region", name="Requests that are over")
    expect(over).to_contain_text("request_cancelled", timeout=SECONDS)
    page.get_by_role("link", name="Playground").click()
    expect(page.locator(".chat .problem")).to_contain_text("cancelled")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_everybody_can_use_it(visit, scheme, width):
    """WCAG AA, as far as axe tells, the question for a key and each view; and none is wider than its window."""
    page = visit(None, color_scheme=scheme, viewport={"width": width, "height": 740})
    expect(page.get_by_label("Key")).to_be_visible(timeout=SECONDS)
    found = Axe().run(page, options=WCAG)
    assert found.violations_count == 0, found.generate_report()
    page.get_by_label("Key").fill(key_of("admin"))
    page.get_by_label("Key").press("Enter")
    for view in VIEWS["admin"]:
        page.get_by_role("link", name=view, exact=True).click(timeout=SECONDS)
        expect(page.get_by_role("heading", level=2).first).to_be_visible(timeout=SECONDS)
        found = Axe().run(page, options=WCAG)
        assert found.violations_count == 0, found.generate_report()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, view


def test_it_says_when_llmux_goes_and_goes_on_when_it_is_back(visit, llmux):
    llmux.stop()  # an earlier test may have left harbour awake
    llmux.start()
    page = visit("control", "overview")
    expect(page.get_by_role("status")).to_have_text("live", timeout=SECONDS)
    page.get_by_role("button", name="Wake harbour").click(timeout=SECONDS)
    expect(page.locator('[data-model="harbour"] .state')).to_have_text("awake", timeout=SECONDS)
    before = page.locator(".changes li").count()
    llmux.stop()
    expect(page.get_by_role("status")).to_have_text("not connected", timeout=SECONDS)
    expect(page.get_by_role("alert")).to_contain_text("llmux does not answer", timeout=SECONDS)
    expect(page.locator('[data-model="harbour"]')).to_be_visible()
    llmux.start()
    expect(page.get_by_role("status")).to_have_text("live", timeout=SECONDS)
    expect(page.get_by_role("alert")).to_have_count(0, timeout=SECONDS)
    expect(page.locator('[data-model="harbour"] .state')).to_have_text("not started", timeout=SECONDS)
    page.get_by_role("button", name="Wake harbour").click()
    expect(page.locator('[data-model="harbour"] .state')).to_have_text("awake", timeout=SECONDS)
    assert page.locator(".changes li").count() > before


def test_amounts_and_times_are_written_as_in_a_terminal(visit):
    page = visit()
    sizes = [0, 7, 1 << 20, 3_456_789, 5 << 30, 2_405_181_686, 1 << 41]
    times = [0.126, 1.26, 9.87, 10.4, 119.4, 121, 7300, 200_000]
    written = page.evaluate(
        """async ([sizes, times]) => {
            const { age, bytes, resource, seconds } = await import("/ui/words.js");
            return [sizes.map(bytes), times.map(seconds), times.map(age), resource("gpu_memory:0")];
        }""",
        [sizes, times],
    )
    assert written == [
        [size(each) for each in sizes],
        [_words.duration(each) for each in times],
        [_words.age(each) for each in times],
        _words.resource("gpu_memory:0"),
    ]


def test_the_time_line_has_one_unit_and_each_state_in_its_legend(visit):
    page = visit("observe")
    expect(page.locator(".legend li")).to_have_text(list(_words.STATES.values()), timeout=SECONDS)
    for span in ("2 minutes", "10 minutes", "all that is known"):
        page.get_by_label("the last").select_option(span)
        *before, now = page.locator(".ticks span").all_inner_texts()
        assert (len({each.split()[-1] for each in before}), now) == (1, "now")
    scales = page.evaluate(
        """async () => {
            const { scale } = await import("/ui/words.js");
            return [119, 600, 7200].map((each) => scale(each, [1, 0.75, 0.5, 0.25]));
        }"""
    )
    assert scales == [
        ["119 s", "89.3 s", "59.5 s", "29.8 s"],
        ["10 min", "7.5 min", "5 min", "2.5 min"],
        ["2 h", "1.5 h", "1 h", "0.5 h"],
    ]


def test_a_verification_shows_how_far_it_is(visit):
    entry = dict.fromkeys(("path", "generation", "created_at", "age_seconds", "eviction", "problem"))
    entry |= {"name": "harbour", "model": "harbour", "kind": "published", "bytes": 4 << 20, "use": "none"}
    operation = {"id": "one", "status": "under_way", "phase": "verifying", "problem": None, "result": None}
    operation |= {"bytes": 1 << 20, "bytes_in_all": 4 << 20, "percent": 25.0, "eta_seconds": 3.0}
    page = visit("admin")
    page.route("**/control/checkpoints", lambda route: route.fulfill(json={"checkpoints": [entry]}))
    page.route("**/verify?wait=false", lambda route: route.fulfill(status=202, json=operation))
    page.route("**/control/operations/one?*", lambda route: route.fulfill(json=operation))
    page.get_by_role("link", name="Checkpoints").click()
    verify = page.get_by_role("button", name="Verify harbour")
    verify.click(timeout=SECONDS)
    bar = page.get_by_role("progressbar", name="verifying, 1 MiB of 4 MiB, about 3.0 s left")
    expect(bar).to_have_attribute("value", "25", timeout=SECONDS)
    expect(verify).to_be_disabled()
    operation |= {"status": "done", "result": {"sound": True, "seconds": 4.0}}
    expect(page.get_by_role("alert")).to_contain_text("harbour: whole, looked at in 4.0 s", timeout=SECONDS)
    expect(bar).to_have_count(0)
    operation |= {"status": "failed", "problem": {"code": "x", "message": "it is gone", "hint": "Look"}}
    verify.click()
    expect(page.get_by_role("alert")).to_contain_text("it is gone", timeout=SECONDS)


def test_what_to_do_is_said_once(visit):
    page = visit()
    page.get_by_label("Key").fill("no such key", timeout=SECONDS)
    with page.expect_response(lambda answer: answer.status == 401) as refused:
        page.get_by_role("button", name="Enter", exact=True).click()
    hint = refused.value.json()["error"]["hint"]
    expect(page.get_by_role("alert")).to_contain_text(hint, timeout=SECONDS)
    assert page.get_by_role("alert").inner_text().count(hint) == 1
    page.get_by_label("Key").fill(key_of("control"))
    page.get_by_label("Key").press("Enter")
    error = {"message": "the model cannot. Ask again", "code": "illegal_move", "hint": "Ask again"}
    page.route("**/control/pin", lambda route: route.fulfill(status=409, json={"error": error}))
    page.get_by_role("button", name="Pin harbour").click(timeout=SECONDS)
    paragraph = page.get_by_role("alert").get_by_role("paragraph")
    expect(paragraph).to_have_text("harbour: the model cannot.Ask again", timeout=SECONDS)  # in two lines


def test_each_button_says_what_it_does_now_or_why_it_does_nothing(visit, llmux):
    llmux.stop()  # an earlier test may have left harbour awake
    llmux.start()
    page = visit("control")
    wake, sleep, switch, pin = (
        page.get_by_role("button", name=each, exact=True)
        for each in ("Wake harbour", "Put harbour to sleep", "Switch to harbour", "Pin harbour")
    )
    expect(wake).to_have_attribute("title", "Starts it when its turn comes", timeout=SECONDS)
    expect(switch).to_have_attribute("title", re.compile("^Starts it at once; "))
    expect(pin).to_have_attribute("title", re.compile("^Has the policy wake it"))
    why = "It is not started: there is nothing to put to sleep"
    expect(sleep).to_be_disabled()
    expect(sleep).to_have_accessible_description(why)
    wake.press("Tab")
    expect(sleep).to_be_focused()
    sleep.press("Enter")
    expect(page.get_by_role("alert")).to_have_count(0)
    wake.click()
    expect(sleep).to_have_attribute("title", "Puts it to sleep: process ended", timeout=SECONDS)
    expect(wake).to_have_accessible_description("It is awake already")
    expect(pin).to_have_attribute("title", re.compile("^Keeps it awake"))


def test_a_page_that_llmux_no_longer_has_is_said_to_be_old(visit):
    page = visit("observe")

    def newer(route: object) -> None:
        answer = route.fetch()
        told = answer.json()
        told["llmux"]["page"] = "another"
        route.fulfill(response=answer, json=told)

    expect(page.get_by_role("status")).to_have_text("live", timeout=SECONDS)
    page.route("**/control/whoami", newer)
    expect(page.get_by_role("button", name="Load it")).to_be_visible(timeout=SECONDS)
    page.unroute("**/control/whoami")
    page.get_by_role("button", name="Load it").click()
    expect(page.locator('[data-model="harbour"]')).to_be_visible(timeout=SECONDS)  # the key is still there
    expect(page.get_by_role("button", name="Load it")).to_have_count(0)
