"""Spans: what they say, what they never say, and what they may not cost."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing

import pytest

from actors.tasks import Tasks
from batching.errors import ConfigurationError, TransientError
from batching.figures import WHOLE, Traces
from runtime.settings import load_settings
from runtime.traces import NAMES, Place, require, traces_of
from tests.collector import Collector
from tests.http_server import Answer, Reply, hang, reset
from tests.repository import ROOT
from tests.street import Street, street
from tests.test_trip import Queue
from tests.valkey_server import ValkeyServer
from tests.waiting import eventually
from tests.webhooks import body

__all__ = ["street"]

LEDGER = "4f1c"
BATCH = "c_0123456789abcdef01234567:b7"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with closing(Collector()) as it:
        yield it


def kept(collector: Collector, role: str = "worker", **environ: str) -> Traces:
    environ = {"TRACES_URL": collector.traces_url, **environ}
    return traces_of(load_settings(environ), role, LEDGER, {"salon": "venom"})


def test_two_processes_make_one_trace(collector: Collector) -> None:
    web, worker = kept(collector, "web"), kept(collector)
    web.past("receive", BATCH, ms=3)
    with worker.span("generate", batch=BATCH), worker.span("generation", account="salon"):
        pass
    worker.past(WHOLE, BATCH, since_ms=1_000, account="salon", state="answered")
    web.close()
    worker.close()

    spans = {it.name: it for it in collector.spans}
    whole, place = spans[WHOLE], Place.of(LEDGER, BATCH)
    assert {it.trace for it in spans.values()} == {f"{place.trace_id:032x}"}
    assert (whole.id, whole.parent) == (f"{place.span_id:016x}", "")
    assert {it.parent for it in (spans["receive"], spans["generate"])} == {whole.id}
    assert spans["generation"].parent == spans["generate"].id
    assert spans["generation"].about == {
        "ai_admin.account": "salon",
        "ai_admin.channel": "venom",
    }
    assert (spans["receive"].role, spans["generate"].role) == ("web", "worker")
    assert whole.ms > 1e9


def test_trace_is_of_one_batch_in_one_ledger() -> None:
    places = [Place.of(*it) for it in ((LEDGER, BATCH), (LEDGER, f"{BATCH}1"), ("other", BATCH))]

    assert len({it.trace_id for it in places}) == len({it.span_id for it in places}) == 3


@pytest.mark.parametrize("percent", [0, 1, 50, 100])
def test_share_of_traces_is_that_of_the_setting(percent: int) -> None:
    chosen = [Place.of(LEDGER, f"c:b{n}").is_kept(percent) for n in range(2_000)]

    assert abs(sum(chosen) / 20 - percent) < 4
    assert percent not in {0, 100} or set(chosen) == {percent == 100}


def test_web_and_worker_keep_the_same_traces(collector: Collector) -> None:
    web, worker = (kept(collector, role, TRACES_PERCENT="50") for role in ("web", "worker"))
    for n in range(40):
        web.past("receive", f"c:b{n}")
        worker.past("wait", f"c:b{n}")
    web.close()
    worker.close()

    received, waited = (
        {it.about["ai_admin.batch"] for it in collector.spans if it.name == name}
        for name in ("receive", "wait")
    )
    assert received == waited
    assert 0 < len(received) < 40


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TransientError("model_429", "Quintessa says"), "model_429"),
        (ValueError("Quintessa says"), "ValueError"),
    ],
)
def test_failure_is_a_code_and_no_words(collector: Collector, error: Exception, code: str) -> None:
    traces = kept(collector)
    with (
        pytest.raises(type(error)),
        traces.span("generate", batch=BATCH),
        traces.span("generation"),
    ):
        raise error
    traces.close()

    assert {(it.name, it.failed, it.about["error.type"]) for it in collector.spans} == {
        ("generate", True, code),
        ("generation", True, code),
    }
    assert "Quintessa" not in collector.text


def test_step_outside_of_a_batch_is_no_span(collector: Collector) -> None:
    traces = kept(collector)
    with traces.span("ledger reap"):
        traces.note(model="m")
        traces.used("input", 3)
    traces.close()

    assert collector.spans == []


def test_question_has_the_names_of_the_conventions(street: Street, collector: Collector) -> None:
    street.runtime.store.figures.traces = traces = kept(collector)
    usage = {"input_tokens": 5, "cache_read_input_tokens": 2, "output_tokens": 3}
    said = {"content": [{"type": "text", "text": "Answer of the barber"}], "usage": usage}
    street.businesses["barber"].model.answer(Reply(body=said | {"stop_reason": "end_turn"}))
    queue = Queue()
    tasks = Tasks(street.runtime.store, street.runtime.accounts, queue)  # type: ignore[arg-type]
    for business in street.businesses.values():
        for text in ("Hi, Quintessa here", "+79990001122"):
            street.caller.cloud(body(business.message(text)))
        tasks.flush()
        for step in (tasks.generate, tasks.send):
            (wake_up,) = queue.take()
            step(wake_up.conversation_id, wake_up.batch_id, wake_up.attempt)
    traces.close()

    asked = [it for it in collector.spans if it.name == "generation"]
    assert [it.about["gen_ai.operation.name"] for it in asked] == ["chat", "chat"]
    assert [it.about["gen_ai.provider.name"] for it in asked] == ["openai", "anthropic"]
    assert [it.about["gen_ai.request.model"] for it in asked] == ["salon-model", "barber-model"]
    assert [it.about["gen_ai.usage.input_tokens"] for it in asked] == [1, 7]
    assert [it.about["gen_ai.usage.output_tokens"] for it in asked] == [1, 3]
    words = ("Quintessa", "79990001122", "Answer of", "secret word", "wamid", "-KEY", "salon-KEY")
    assert [word for word in words if word in collector.text] == []


def test_names_of_conventions_are_those_of_the_standard() -> None:
    from opentelemetry.semconv._incubating.attributes import gen_ai_attributes  # noqa: PLC0415
    from opentelemetry.semconv.attributes import error_attributes  # noqa: PLC0415

    modules = (gen_ai_attributes, error_attributes)
    standard = {it for module in modules for it in vars(module).values() if isinstance(it, str)}

    assert [name for name in NAMES.values() if name not in standard] == []


def test_headers_open_the_collector(collector: Collector) -> None:
    traces = kept(collector, TRACES_HEADERS="Authorization=Basic%20a2V5,X-Scope=salon%2C1")
    traces.past("wait", BATCH)
    traces.close()

    (request,) = collector.requests
    assert (request.headers["authorization"], request.headers["x-scope"]) == (
        "Basic a2V5",
        "salon,1",
    )


@pytest.mark.parametrize("deed", [hang, reset, Reply(503), Reply(400)])
def test_collector_that_fails_delays_nobody_and_is_told_once(
    collector: Collector,
    caplog: pytest.LogCaptureFixture,
    deed: Answer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("runtime.otlp.CLOSE_S_MAX", 0.2)
    monkeypatch.setattr("runtime.otlp.SEND_S_MAX", 0.5)
    collector.answer(*[deed] * 50)
    traces = kept(collector)
    for _ in range(10_000):  # more than wait
        traces.past("wait", BATCH)

    traces.close()

    def told() -> list[str]:
        return [it.msg for it in caplog.records if it.levelname != "DEBUG"]

    eventually(lambda: "traces.lost" in told(), what="the line")
    assert told().count("traces.lost") == 1


def test_unset_nothing_of_it_is_loaded(valkey: ValkeyServer, street: Street) -> None:
    """Neither by a web process nor by a worker; redis-py loads the API where it is installed."""
    accounts = str(street.runtime.settings.accounts_file)
    environ = {
        "REDIS_URL": valkey.url(0),
        "BROKER_URL": valkey.url(1),
        "ACCOUNTS_FILE": accounts,
        "ENVIRONMENT": "test",
        **{
            f"{name}_{kind}": "x"
            for name in ("SALON", "BARBER")
            for kind in ("TOKEN", "KEY", "VERIFY")
        },
        "APP_SECRET": "x",
        "PATH": "",
    }
    program = (
        "import sys, json, actors, actors.tasks\n"
        "from runtime.build import build\nfrom web import create_app\n"
        "create_app(build('web')), build('worker')\n"
        "print(json.dumps([it for it in sys.modules "
        "if it.startswith(('opentelemetry.exporter', 'google.protobuf', 'runtime.otlp'))]))"
    )

    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environ,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert json.loads(done.stdout.splitlines()[-1]) == []


def test_without_the_extra_a_process_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "runtime.otlp", None)
    settings = load_settings({"TRACES_URL": "https://collector.example/v1/traces"})

    with pytest.raises(ConfigurationError) as refused:
        require(settings)

    assert "requirements-traces.txt" in refused.value.detail
    require(load_settings({}))
