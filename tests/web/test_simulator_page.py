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


def test_page_fits_a_phone_on_its_side(page: Page) -> None:
    for number in range(9):
        write(page, f"message {number}")
    newest = page.locator(".message.customer", has_text="message 8")
    expect(newest).to_be_in_viewport()
    for width, height in ((667, 375), (844, 390), (932, 430)):
        page.set_viewport_size({"width": width, "height": height})
        for place in ("#text", ".send", "#status-text", "#new-customer"):
            expect(page.locator(place)).to_be_in_viewport(ratio=1)
        expect(newest).to_be_in_viewport()
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate("document.getElementById('scroller').clientHeight") >= height / 2


def test_account_is_shown_by_its_name_and_the_field_has_the_focus(page: Page) -> None:
    expect(page.locator("#business")).to_have_text("Salon")
    expect(page.locator("#account option")).to_have_text(["Salon"])
    expect(page.locator("#text")).to_be_focused()


def test_words_run_in_their_own_direction(page: Page) -> None:
    write(page, "أريد حجز موعد")
    write(page, "Hello")
    words = page.locator(".message.customer .words")
    expect(words).to_have_count(2)
    page.fill("#text", "مرحبا")

    # Asked until it is so: the page draws its messages anew while it is looked at.
    expect(words.nth(0)).to_have_css("direction", "rtl")
    expect(words.nth(1)).to_have_css("direction", "ltr")
    expect(page.locator("#text")).to_have_css("direction", "rtl")


def test_long_text_is_sent_whole_and_a_longer_one_is_kept_and_told(page: Page) -> None:
    write(page, "long " * 1_000)
    expect(page.locator(".message.customer .words")).to_have_text(("long " * 1_000).strip())
    page.fill("#text", "x" * 65_537)
    page.press("#text", "Enter")

    expect(page.locator("#too-long")).to_contain_text("65,537 characters: at most 65,536")
    assert page.input_value("#text") == "x" * 65_537
    page.fill("#text", "short")
    expect(page.locator("#too-long")).to_be_hidden()


def test_draft_is_kept_for_its_customer(page: Page) -> None:
    """Over a reload; and it is gone once it was sent."""
    page.fill("#text", "half a sentence")
    page.reload()
    expect(page.locator("#text")).to_have_value("half a sentence")
    page.click("#new-customer")
    expect(page.locator("#text")).to_have_value("")

    write(page, "sent")
    expect(messages(page, "open")).to_have_count(1)
    page.reload()

    expect(messages(page, "open")).to_have_count(1)
    expect(page.locator("#text")).to_have_value("")


@pytest.mark.parametrize(
    ("open_due_s", "flight_count", "said"),
    [
        (
            -12,
            0,
            "Late: the answer to 1 message was due 12 s ago. Do a scheduler and a worker run?",
        ),
        (5, 0, "1 message collected, answer in"),
        (None, 1, "Late: 1 message waited 3 min for an answer; it is being written."),
    ],
)
def test_late_answer_is_called_late(
    page: Page, open_due_s: int | None, flight_count: int, said: str
) -> None:
    """The state is as a ledger would give it that nobody flushes, or whose model hangs."""
    now_ms = int(page.evaluate("Date.now()"))
    is_open = open_due_s is not None
    state = {
        "now_ms": now_ms,
        "open": {"count": int(is_open), "due_ms": now_ms + (open_due_s or 0) * 1000},
        "flight": {"count": flight_count, "stage": "generate", "waiting": False},
        "messages": [{"from": "customer", "id": "m", "text": "Hi", "at_ms": now_ms - 190_000}],
    }
    page.route("**/simulator/state/**", lambda route: route.fulfill(json=state))

    expect(page.locator("#status-text")).to_contain_text(said)
    late = said.startswith("Late")
    expect(page.locator("#status")).to_have_attribute("data-phase", "late" if late else "collect")


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
