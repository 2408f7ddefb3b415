"""The simulator in a real browser, against a real server; the workers' part is done by the test."""

import os
import shutil
from collections.abc import Iterator

import pytest
import redis
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from runtime.build import build
from tests.web.server import WebServer
from tests.web.workers import Workers

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ENVIRON = {"BATCH_MAX_MESSAGES": "3"}
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        reason = "no Chromium on PATH"
        if os.environ.get("CI", "").lower() in {"1", "true"}:
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture
def workers(
    server: WebServer,
    client: redis.Redis,  # noqa: ARG001 - an empty ledger
) -> Iterator[Workers]:
    runtime = build("worker", server.environ)
    yield Workers(runtime)
    runtime.store.client.connection_pool.disconnect()


@pytest.fixture
def page(browser: Browser, server: WebServer, workers: Workers) -> Iterator[Page]:  # noqa: ARG001 - after the ledger is empty
    context = browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-GB")
    opened = context.new_page()
    problems: list[str] = []
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
    opened.goto(f"{server.url}/simulator")
    expect(opened.locator("#presence")).to_have_text("online")
    yield opened
    context.close()
    assert problems == []


def messages(page: Page, state: str) -> Locator:
    return page.locator(f'.message.customer[data-state="{state}"]')


def write(page: Page, text: str) -> None:
    page.fill("#text", text)
    page.press("#text", "Enter")


def test_burst_is_collected_then_answered_once_without_a_reload(
    page: Page, workers: Workers
) -> None:
    write(page, "Hi")
    expect(page.locator("#status-text")).to_contain_text("1 message collected, answer in")
    write(page, "Can I book")
    write(page, "for tomorrow?")
    expect(messages(page, "open")).to_have_count(3)

    workers.flush()
    expect(page.locator("#typing")).to_be_visible()
    expect(page.locator("#presence")).to_have_text("typing…")
    workers.answer()

    expect(page.locator(".message.business")).to_have_count(1)
    expect(page.locator(".covers")).to_have_text("answers 3 messages")
    expect(messages(page, "answered")).to_have_count(3)
    expect(page.locator("#typing")).to_be_hidden()
    expect(page.locator("#status-text")).to_have_text("Nothing is waiting.")

    write(page, "Thanks")
    expect(page.locator(".message.customer")).to_have_count(4)
    page.click(".covers")

    expect(page.locator(".message.customer.lit")).to_have_count(3)
    expect(page.locator(".covers")).to_have_attribute("aria-pressed", "true")


def test_page_says_when_it_answers(page: Page) -> None:
    said = page.locator("#rules dt")

    assert said.all_inner_texts() == ["9 s", "3", "45 s"]


def test_conversation_is_there_after_a_reload(page: Page) -> None:
    write(page, "Hi")
    expect(messages(page, "open")).to_have_count(1)

    page.reload()

    expect(page.locator(".message.customer .words")).to_have_text(["Hi"])


def test_new_customer_begins_with_an_empty_page(page: Page) -> None:
    write(page, "Hi")
    expect(page.locator(".message.customer")).to_have_count(1)
    before = page.locator("#customer").text_content()

    page.click("#new-customer")

    expect(page.locator(".message")).to_have_count(0)
    expect(page.locator("#customer")).not_to_have_text(before or "")
    expect(page.locator("#welcome")).to_be_visible()


def test_markup_in_a_message_is_shown_as_text(page: Page) -> None:
    text = "<img src=x onerror=document.title='taken'><b>bold</b>"

    write(page, text)

    expect(page.locator(".message.customer .words")).to_have_text(text)
    expect(page.locator(".message img, .message b")).to_have_count(0)


def test_page_fits_a_narrow_phone(page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    write(page, "https://example.org/" + "a-very-long-address" * 20)
    expect(page.locator(".message.customer")).to_have_count(1)

    assert page.evaluate("document.documentElement.scrollWidth") == 360
    expect(page.locator("#text")).to_be_in_viewport()
    expect(page.locator(".send")).to_be_in_viewport()
    expect(page.locator("#new-customer")).to_be_in_viewport()


def test_message_that_did_not_arrive_can_be_sent_again(
    browser: Browser,
    server: WebServer,
    workers: Workers,  # noqa: ARG001 - after the ledger is empty
) -> None:
    """Also after a reload: what the customer wrote is never simply gone."""
    page = browser.new_page()
    page.goto(f"{server.url}/simulator")
    expect(page.locator("#presence")).to_have_text("online")
    page.route("**/webhooks/**", lambda route: route.abort())
    write(page, "Hi")
    expect(page.locator(".retry")).to_be_visible()
    page.unroute_all()
    page.reload()

    page.click(".retry")

    expect(messages(page, "open")).to_have_count(1)
    expect(page.locator(".retry")).to_have_count(0)
    page.close()
