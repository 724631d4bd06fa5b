"""The page in a real browser, before a real llmux whose models sleep on disk and wake."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import ConsoleMessage, Page, expect
from ports import free_port

from proof.bench import Model, Node, Settings

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

SECONDS = 60_000  # ms; a busy machine is slow
PICTURES = os.environ.get("LLMUX_PICTURES")
"""A directory for two pictures of the page, as docs/ has them."""
VIEWS = ("overview", "playground", "requests", "checkpoints", "logs")


@pytest.fixture
def node(desk) -> Iterator[Node]:
    slow = {"extra_args": ["--token-delay", "0.02"]}
    models = tuple(Model(name, free_port(), slow) for name in ("lighthouse", "harbour"))
    settings = Settings(models=models, port=free_port(), checkpoint={"reuse": False}, fields={"max_awake": 1})
    with desk.node("page", settings, network="host") as node:
        yield node


class Visit:
    """A page that somebody looks at, and what went wrong in it."""

    def __init__(self, page: Page, port: int) -> None:
        self.page = page
        self.origin = f"http://127.0.0.1:{port}"
        self.wrong: list[str] = []
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("request", lambda request: self._asked(request.url))

    def _said(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.wrong.append(message.text)

    def _asked(self, url: str) -> None:
        if not url.startswith((self.origin, "blob:")):
            self.wrong.append(f"it asked another host: {url}")

    def show(self, view: str) -> None:
        self.page.goto(f"{self.origin}/ui/#{view}")
        expect(self.page.get_by_role("heading", level=2).first).to_be_visible(timeout=SECONDS)

    def card(self, model: str) -> object:
        return self.page.locator(f'[data-model="{model}"]')

    def state_is(self, model: str, words: str) -> None:
        expect(self.card(model).locator(".state")).to_have_text(words, timeout=SECONDS)

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click(timeout=SECONDS)


@pytest.fixture
def visit(browser, node) -> Iterator[Visit]:
    page = browser.new_page()
    there = Visit(page, node.settings.port)
    yield there
    page.close()
    assert there.wrong == []


def picture(page: Page, name: str) -> None:
    if PICTURES:
        page.set_viewport_size({"width": 1280, "height": 900})
        page.screenshot(path=Path(PICTURES) / name)


def test_models_wake_sleep_and_switch_by_its_buttons(visit):
    visit.show("overview")
    visit.press("Wake lighthouse")
    visit.state_is("lighthouse", "awake")
    visit.press("Put lighthouse to sleep")
    visit.state_is("lighthouse", "asleep")
    expect(visit.card("lighthouse")).to_contain_text("checkpoint")
    visit.press("Wake lighthouse")
    visit.state_is("lighthouse", "awake")
    expect(visit.card("lighthouse")).to_contain_text("restored")
    visit.press("Switch to harbour")
    visit.state_is("harbour", "awake")
    visit.state_is("lighthouse", "asleep")
    expect(visit.page.locator(".changes")).to_contain_text("lighthouse")
    expect(visit.page.locator(".timeline .span.running").first).to_be_attached()
    expect(visit.page.get_by_role("status")).to_have_text("live")
    picture(visit.page, "page-overview.png")


def test_the_playground_tells_what_a_request_waited_for(visit, node):
    node.llmux.chat("lighthouse")
    node.llmux.sleep("lighthouse")
    visit.show("playground")
    visit.page.get_by_label("Model").select_option("lighthouse")
    visit.page.get_by_label("Message").fill("What is a lighthouse?")
    visit.press("Send")
    figures = visit.page.locator("[data-figures]")
    expect(figures).to_contain_text("restored", timeout=SECONDS)
    expect(figures).to_contain_text("first token")
    assert visit.page.locator(".chat .assistant .text").inner_text()
    picture(visit.page, "page-playground.png")


def test_a_checkpoint_shows_what_is_in_it(visit, node):
    node.llmux.chat("lighthouse")
    node.llmux.sleep("lighthouse")
    visit.show("checkpoints")
    visit.press("Look into lighthouse")
    graph = visit.page.get_by_role("img", name=re.compile("Processes of lighthouse"))
    expect(graph).to_be_visible(timeout=SECONDS)
    assert graph.evaluate("each => each.naturalWidth") > 100
    visit.press("Verify lighthouse")
    expect(visit.page.get_by_role("alert")).to_contain_text("whole", timeout=SECONDS)
    expect(visit.page.get_by_role("region", name="Processes")).to_contain_text("python")
    expect(visit.page.get_by_role("heading", name="What is missing here now")).to_be_visible(timeout=SECONDS)


def test_logs_are_followed(visit, node):
    visit.show("logs")
    before = visit.page.get_by_role("log").inner_text()
    node.llmux.chat("harbour")
    expect(visit.page.get_by_role("log")).to_contain_text("harbour", timeout=SECONDS)
    assert before != visit.page.get_by_role("log").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_use_it(browser, node, scheme):
    """WCAG AA, as far as axe tells; and no view is wider than a phone."""
    page = browser.new_page(color_scheme=scheme, viewport={"width": 360, "height": 740})
    visit = Visit(page, node.settings.port)
    options = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
    for view in VIEWS:
        visit.show(view)
        found = Axe().run(page, options=options)
        assert found.violations_count == 0, found.generate_report()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, view
    page.close()


def test_the_keyboard_is_enough(visit):
    visit.show("overview")
    visit.page.keyboard.press("Tab")
    expect(visit.page.get_by_role("link", name="Skip to the content")).to_be_focused()
    visit.page.keyboard.press("Tab")
    visit.page.keyboard.press("Tab")
    visit.page.keyboard.press("Enter")
    expect(visit.page.get_by_role("heading", name="Playground")).to_be_visible()
