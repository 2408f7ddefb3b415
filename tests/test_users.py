"""What the application's users may do in Redis, and what they may not."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import resources

import pytest
import redis

from batching import outbox as module
from batching.alerts import Alerts
from batching.audit import audit
from batching.errors import LedgerUnavailableError
from batching.inspect import census, counters, dead_letters, trace
from batching.model import (
    CANARY_ACCOUNT,
    DeliveryStatus,
    ForeignMessage,
    InboundMessage,
    Kind,
    Limits,
    Outbound,
    Reason,
    Stage,
    Status,
    Tag,
    WakeUp,
)
from batching.outbox import Outbox
from batching.reminders import Reminders
from batching.store import GREETING, TAKEOVER_BEGINS, Store
from channels import simulator
from runtime import health
from runtime.settings import load_settings
from tests.alerts import notifier, people
from tests.batching.world import ANNA
from tests.guarded_server import PASSWORDS, GuardedServer, commands, users
from tests.processes import Guard, started
from tests.repository import SERVICE

#: What reveals, destroys or takes over a server: for the operator alone.
FORBIDDEN = (
    *("ACL LIST", "ACL SETUSER app +@all", "BGREWRITEAOF", "CLIENT LIST", "CLIENT KILL 1.2.3.4:5"),
    *("CONFIG GET *", "CONFIG SET maxmemory 1", "DEBUG SLEEP 0", "EVAL return(1) 0", "FLUSHALL"),
    *("FLUSHDB", "FUNCTION LIST", "KEYS *", "MODULE LIST", "MONITOR", "PUBLISH aa:c text"),
    *("REPLICAOF NO ONE", "RESTORE aa:k 0 text", "SCRIPT FLUSH", "SHUTDOWN", "SUBSCRIBE aa:c"),
    *("SWAPDB 0 1", "GET foreign", "SET dramatiq:default text", "RENAME aa:k foreign"),
)
#: What the user for wake-ups may do.
OF_DRAMATIQ = ("KEYS *", "SET dramatiq:default text")
#: The users of the processes, each with a part of what the application needs, and the verbs'.
ROLES = ("web", "worker", "scheduler", "operator")
#: Role → what somebody who stole its password would try.
OF_OTHERS = {
    "web": (
        *("LRANGE {aa1.0}:o:c 0 -1", "LINDEX {aa1.0}:o:c 0", "LPOP {aa1.0}:o:c", "DEL {aa1.0}:o:c"),
        *("LTRIM {aa1.0}:o:c 1 0", "PEXPIRE {aa1.0}:o:c 1", "RENAME {aa1.0}:o:c aa:k"),
        *("LRANGE {aa1.0}:f:c 0 -1", "LINDEX {aa1.0}:f:c 0", "DEL {aa1.0}:f:c"),
        *("LRANGE {aa1.0}:history:c 0 -1", "RPUSH {aa1.0}:history:c text", "SCAN 0"),
        *("DEL {aa1.0}:c:c", "PEXPIRE {aa1.0}:c:c 1", "SET {aa1.0}:c:c text", "DEL aa:meta"),
        *("DEL {aa1.0}:due", "SET {aa1.0}:model_off 1", "HSET {aa1.0}:spent:c count 0"),
        *("XTRIM {aa1.0}:alerts MAXLEN 0", "XREADGROUP GROUP g r STREAMS {aa1.0}:alerts >"),
        *("SET {aa1.0}:heartbeat 1", "SET {aa1.0}:circuit:salon 1", "SCRIPT LOAD return(1)"),
        *("LRANGE aa:simulator:c 0 -1", "RPUSH aa:simulator:c text"),
    ),
    "worker": (
        *("SCRIPT LOAD return(1)", "SCAN 0", "LPOP {aa1.0}:o:c", "XTRIM {aa1.0}:alerts MAXLEN 0"),
        *("XREADGROUP GROUP g r STREAMS {aa1.0}:alerts >", "XACK {aa1.0}:alerts g 1-1"),
    ),
    "scheduler": (
        *("LRANGE {aa1.0}:o:c 0 -1", "LRANGE {aa1.0}:f:c 0 -1", "LRANGE {aa1.0}:history:c 0 -1"),
        *("LRANGE {aa1.0}:d:b 0 -1", "LINDEX {aa1.0}:d:b 0", "DEL {aa1.0}:d:b", "DEL {aa1.0}:o:c"),
        *("RPUSH {aa1.0}:o:c text", "HSET {aa1.0}:c:c id b", "HGETALL {aa1.0}:c:c", "SCAN 0"),
        *("ZADD {aa1.0}:due 0 c", "ZREM {aa1.0}:lease c", "GET {aa1.0}:sent:p", "DEL aa:meta"),
        *("SET {aa1.0}:model_off 1", "RENAME {aa1.0}:o:c aa:k", "LPOP {aa1.0}:o:c"),
    ),
    "operator": (),
}
#: A batch of one message is due at once.
ONE = replace(Limits(), max_messages=1)
#: Redis and Valkey word it differently; DEBUG is switched off for everybody.
REFUSAL = (
    "permissions|ACL failure|DEBUG command not allowed"
    "|executing the script can't (run this command|access at least one of the keys)"
)
#: It reads a queue of Dramatiq's.
OF_THE_BROKER = {"broker.py"}
#: What redis-py calls otherwise than Redis.
NAMES = {
    "delete": "del",
    "incr": "incrby",
    "script_exists": "script|exists",
    "script_load": "script|load",
    "xgroup_create": "xgroup|create",
    "xgroup_destroy": "xgroup|destroy",
    "xpending_range": "xpending",
    "xinfo_groups": "xinfo|groups",
}
#: Methods that are no commands, or of no client of Redis, or asked for where it is allowed.
NO_COMMANDS = {
    *("pipeline", "execute", "execute_command", "get_connection_kwargs", "config_get"),
    *("build_request", "send", "stream", "watch", "transaction"),
}


@pytest.fixture(scope="module")
def servers(valkey_binary: str, guard: Guard) -> Iterator[dict[str, GuardedServer]]:
    """Return a server for each user: the application's ledger, and the broker."""
    with (
        started(GuardedServer(valkey_binary, guard, "app")) as ledger,
        started(GuardedServer(valkey_binary, guard, "broker")) as broker,
    ):
        yield {"app": ledger, "broker": broker}


@pytest.fixture
def ledger(servers: dict[str, GuardedServer]) -> GuardedServer:
    return servers["app"]


def binary_of(program: str, valkey_binary: str) -> str:
    binary = valkey_binary if program == "valkey" else shutil.which(program)
    if not binary:
        assert os.environ.get("CI") != "true", f"{program} is missing: apt install {program}"
        pytest.skip(f"no {program}: apt install {program}")
    return binary


def scripted(package: str, directory: str) -> set[str]:
    """Return the commands that the scripts of a package run."""
    files = resources.files(package).joinpath(directory).iterdir()
    scripts = [file.read_text(encoding="utf-8") for file in files if file.name.endswith(".lua")]
    found = {name for text in scripts for name in re.findall(r'redis\.p?call\(\s*"(\w+)"', text)}
    assert sum(len(re.findall(r"redis\.p?call\b", text)) for text in scripts) == sum(
        len(re.findall(r'redis\.p?call\(\s*"\w+"', text)) for text in scripts
    )
    return {name.lower() for name in found}


def called() -> set[str]:
    """Return the commands that our Python gives to a client of the ledger."""
    text = "".join(path.read_text() for path in SERVICE if path.name not in OF_THE_BROKER)
    methods = set(re.findall(r"\b_?(?:client|pipeline|pipe|ledger)\.([a-z_]+)\(", text))
    methods |= set(re.findall(r'_streams\([^"\n]*"([a-z]+)"', text))
    methods |= {name.lower() for name in re.findall(r'execute_command\(\s*"(\w+)"', text)}
    return {NAMES.get(name, name) for name in methods - NO_COMMANDS}


def test_application_may_do_what_the_code_does_and_nothing_else() -> None:
    connection = {"auth", "client|setname", "evalsha", "multi", "exec", "watch", "unwatch"}

    assert commands("app") == called() | scripted("batching", "lua") | connection
    assert commands("operator") == commands("app")


def test_each_role_may_do_a_part_of_that_and_two_may_load_scripts() -> None:
    """After a restart of Redis the scheduler loads them, which strangers do not reach."""
    may = {role: commands(role) for role in ROLES}

    assert [role for role in ROLES if may[role] - commands("app")] == []
    assert [role for role in ROLES if "script|load" in may[role]] == ["scheduler", "operator"]


def test_user_without_a_password_is_off() -> None:
    """An installation that knows one user for all goes on with it, or is done with it."""
    for given in ({"app", "admin"}, {*ROLES, "admin"}):
        lines = users("ledger", {name: PASSWORDS[name] for name in given}).splitlines()
        on = {line.split()[1] for line in lines if line.startswith("user ") and " on " in line}

        assert on == given


def test_user_for_wake_ups_may_do_what_dramatiq_does_and_little_else() -> None:
    """Those that only measure a queue are for dramatiq's own tests."""
    ours = {"ping", "info", "set", "llen"}
    connection = {"auth", "client|setname", "evalsha", "script|load"}

    asked = scripted("dramatiq", "brokers/redis") - {"hlen", "scard"}
    assert commands("broker") == asked | ours | connection


def test_user_of_copies_reads_all_as_a_replica_and_changes_nothing(
    servers: dict[str, GuardedServer],
) -> None:
    with servers["app"].client(user="backup") as client:
        client.hset("aa:backup", "made_ms", 1)
        for command in (
            *(*FORBIDDEN, "GET aa:meta", "HGETALL aa:meta", "SET aa:k text", "DEL aa:backup"),
            *("HSET aa:meta identity other", "HGET aa:backup made_ms", "ZADD aa:erased 1 c_1"),
        ):
            with pytest.raises(redis.ResponseError, match=REFUSAL):
                client.execute_command(*command.split())


def test_exporter_reads_figures_and_no_key(servers: dict[str, GuardedServer]) -> None:
    """Nor the slow log's entries, which quote what customers wrote."""
    with servers["app"].client(user="exporter") as client:
        assert client.info()["redis_version"]
        for command in (*FORBIDDEN, "SLOWLOG GET", "GET aa:meta", "HGETALL aa:meta", "DBSIZE"):
            with pytest.raises(redis.ResponseError, match=REFUSAL):
                client.execute_command(*command.split())


@pytest.mark.parametrize(
    ("user", "command"),
    [
        *(("app", it) for it in FORBIDDEN),
        *(("broker", it) for it in FORBIDDEN if it not in OF_DRAMATIQ),
    ],
)
def test_user_is_refused(servers: dict[str, GuardedServer], user: str, command: str) -> None:
    with servers[user].client() as client, pytest.raises(redis.ResponseError, match=REFUSAL):
        client.execute_command(*command.split())


@pytest.fixture(params=["valkey", "redis-server"])
def roles(
    request: pytest.FixtureRequest, valkey_binary: str, guard: Guard
) -> Iterator[GuardedServer]:
    """Return a ledger's server, of either kind, on which every role has a user."""
    binary = binary_of(request.param, valkey_binary)
    with started(GuardedServer(binary, guard, "app")) as server:
        yield server


def store_of(server: GuardedServer, user: str, *, synced: bool = False) -> Store:
    return Store(server.client(user=user), privacy_key="key", synced=synced)


def waiting(store: Store) -> str:
    """Have a customer's message wait in a ledger; return the conversation."""
    conversation = store.conversation_id("salon", ANNA)
    message = InboundMessage("salon", ANNA, "m1", Kind.TEXT, "Hi")
    assert store.append(conversation, message, Limits()).status == Status.ACCEPTED
    return conversation


def answer(store: Store) -> Tag:
    """Return the tag of an answer that was sent."""
    conversation = store.conversation_id("salon", "answered")
    store.append(conversation, InboundMessage("salon", "answered", "m1", Kind.TEXT, "Hi"), ONE)
    (batch,) = store.collect(store.shard_of(conversation), limit=1)
    run = store.begin(batch.wake_up)
    assert run
    store.checkpoint(run, ["Hello"], store.exchange(run, "Hello", ["Hello"]))
    run = store.begin(WakeUp(conversation, batch.batch_id, 1, Stage.SEND))
    assert run
    store.mark_sending(run, 0, "alert")
    tag = store.tag("salon", conversation, batch.batch_id, 0)
    store.mark_sent("salon", tag, "p2")
    assert store.finish(run)
    return tag


def letter(store: Store, customer: str = "dead", account: str = "salon") -> str:
    """Return the id of a dead letter."""
    conversation = store.conversation_id(account, customer)
    store.append(conversation, InboundMessage(account, customer, "m1", Kind.TEXT, "Hi"), ONE)
    (batch,) = store.collect(store.shard_of(conversation), limit=1)
    run = store.begin(batch.wake_up)
    assert run
    store.dead_letter(run, Reason.POISON, "worker_died")
    return batch.wake_up.batch_id


def test_each_role_is_refused_what_is_for_others(roles: GuardedServer) -> None:
    """Not one of these is known by what it answers: permission is looked at first."""
    allowed = []
    for role, theirs in OF_OTHERS.items():
        with roles.client(user=role) as client:
            for command in (*theirs, *FORBIDDEN):
                try:
                    client.execute_command(*command.split())
                except redis.ResponseError as error:
                    if re.search(REFUSAL, str(error)):
                        continue
                allowed.append((role, command))

    assert allowed == []


def test_web_can_add_what_customers_write_and_not_read_it_by_any_script(
    roles: GuardedServer,
) -> None:
    operator, web = store_of(roles, "operator"), store_of(roles, "web")
    operator.open()
    web.open()
    conversation = waiting(web)
    shard = web.shard_of(conversation)
    wake_up = WakeUp(conversation, "b1", 1, Stage.GENERATE)
    attacks: dict[str, Callable[[], object]] = {
        "begin": lambda: web.begin(wake_up),
        "collect": lambda: web.collect(shard, limit=200),
        "erase": lambda: web.erase(conversation),
        "audit": lambda: web.audit(shard, [conversation]),
        "recover_orphan": lambda: web.recover_orphan(conversation),
        "history": lambda: web.history(conversation),
        "model_off": lambda: web.switch_model(on=False),
    }

    for name, attack in attacks.items():
        with pytest.raises(LedgerUnavailableError):
            print(name, attack())  # noqa: T201 - which of them it was

    assert operator.peek(conversation).open_count == 1
    assert len(operator.client.lrange(shard.open_messages(conversation), 0, -1)) == 1


def test_web_may_do_what_any_webhook_or_status_asks_for(roles: GuardedServer) -> None:
    operator, web = store_of(roles, "operator"), store_of(roles, "web")
    operator.load_scripts()
    web.open()
    conversation = waiting(web)
    person = ForeignMessage("salon", ANNA, "phone-1", "person")
    tag = web.tag("salon", conversation, "b1", 0)
    failed = DeliveryStatus("salon", "p1", "failed", "131047")

    assert web.link(conversation, "salon", "alias")
    assert not web.link(web.conversation_id("salon", "another"), "salon", "alias")
    secondary = InboundMessage("salon", "alias", "m2", Kind.TEXT, "Hi", secondary=True)
    assert web.owners([secondary]) == ([conversation], {})
    # A new customer's: it may be the app's greeting at first.
    answers = [web.foreign(conversation, person, pause=True) for _ in range(2)]
    assert answers == [GREETING, TAKEOVER_BEGINS]
    assert [web.note_channel("salon", gravity, "code: words") for gravity in (2, 0)] == [True] * 2
    assert web.note_channel("salon", 3, "code: words")
    assert [it.account_id for it in web.lost_channels()] == ["salon"]
    assert web.tags([failed]) == [None]
    for batch, account in (("b1", "salon"), (letter(operator), "salon"), ("b1", "sister")):
        tag = web.tag("salon", conversation, batch, 0)
        web.mark_failed(account, tag, "p1", "131047")
        web.mark_sent(account, tag, "p1")
    tag = answer(operator)
    assert web.mark_failed("salon", tag, "p2", "131047")
    assert [it.reason for it in dead_letters(operator)].count("undelivered") == 1
    assert web.mark_delivered("salon", tag, "p2") is not None
    web.probe()
    web.timing = replace(web.timing, waiting_max=1, overflow_ms=0)
    assert web.alert_once("not_understood", "broken_json", cooldown_ms=1, about="broken_json")
    assert web.overflow(conversation, "salon")
    assert web.alert_once("drift", "detail", cooldown_ms=1)
    census(web), counters(web), Alerts(web).undelivered(), Alerts(web).throttled_counts()
    assert roles.refusals() == set()


def test_scheduler_may_do_what_alerts_checks_and_canaries_ask_for(
    roles: GuardedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator, scheduler = store_of(roles, "operator"), store_of(roles, "scheduler")
    scheduler.open()
    conversation = waiting(operator)
    batch = letter(operator)
    operator.alert_once("drift", "detail", cooldown_ms=1)
    operator.switch_model(on=False)
    canary = operator.conversation_id(CANARY_ACCOUNT, "c")
    died = letter(operator, "c", CANARY_ACCOUNT)
    environ = {"REDIS_URL": roles.url(user="scheduler"), "BROKER_URL": "amqp://127.0.0.1/aa"}
    context = health.context_of(scheduler, load_settings(environ), "scheduler")

    health.Monitor(replace(context, account_ids=("salon",)))()
    people(scheduler, ["json://127.0.0.1:1/a"]).remind()
    notifier(scheduler, ["json://127.0.0.1:1/a"])()
    reminders = Reminders(scheduler)
    reminders.keep(dict.fromkeys(Alerts(operator).newest(9), 1), told=())
    people(scheduler, ["json://127.0.0.1:1/a"]).remind()
    reminders.told(reminders.open(), again_ms=1)
    reminders.postpone(dict.fromkeys(reminders.open(), 1))
    reminders.end_turn()
    reminders.acknowledge(reminders.open(), "recovered")
    outbox = Outbox(scheduler)
    outbox.open()
    letter(operator, "other")
    told, *_ = outbox.take()
    assert outbox.attempts_left(told)
    monkeypatch.setattr(module, "PAUSES_MS", (0,))
    outbox.give_up(outbox.take()[0], "http_500")
    outbox.close()
    Alerts(scheduler).throttle([replace(it, entry_id="9-9") for it in Alerts(operator).newest(9)])
    Alerts(scheduler).take(9)
    trace(scheduler, canary)

    scheduler.discard(canary, died, Reason.DISCARDED)
    assert batch in {it.batch_id for it in dead_letters(operator)}
    assert operator.peek(conversation).open_count == 1
    assert roles.refusals() - {("scheduler", "command", "config|get")} == set()


def test_each_role_can_wait_for_the_disk_where_the_server_can(roles: GuardedServer) -> None:
    """BATCH_DURABILITY=always asks for it as every role; an older Redis says what it lacks."""
    wanted = "tells when a write is safe" if roles.waits else "this server cannot wait for its disk"
    store_of(roles, "operator").open()

    for user in (*ROLES, "app"):
        with roles.client(user=user) as client:
            found = health.check_sync(client)
        assert wanted in found.says, user
    if roles.waits:
        web, worker = store_of(roles, "web", synced=True), store_of(roles, "worker", synced=True)
        shard, b = web.shard_of(waiting(web)), web.conversation_id("salon", "b")
        pipeline = web.pipeline(durable=True)
        pipeline.append(b, InboundMessage("salon", "b", "m1", Kind.TEXT, "Hi"), ONE)
        (receipt,) = pipeline.execute()
        assert receipt.status == Status.ACCEPTED
        (batch,) = worker.collect(shard, limit=1)
        run = worker.begin(batch.wake_up)
        assert run
        worker.mark_sending(run, 0, "alert")
    assert roles.refusals() == set()


def test_user_that_may_not_wait_for_the_disk_is_told_so(roles: GuardedServer) -> None:
    """As before the users are brought up to date: it is not the server that cannot."""
    if not roles.waits:
        return
    with roles.admin() as client:
        client.execute_command("ACL", "SETUSER", "web", "reset", "on", ">p", "+@all", "-waitaof")
    with redis.Redis(unix_socket_path=roles.socket, username="web", password="p") as client:
        found = health.check_sync(client)

    assert (found.level, found.advice) == (
        health.Level.MISTAKE,
        "run site.yml, or give the user +waitaof",
    )


def test_simulator_runs_under_the_roles_outside_of_production(
    valkey_binary: str, guard: Guard
) -> None:
    with started(GuardedServer(valkey_binary, guard, "app", simulates=True)) as server:
        operator, web, worker = (store_of(server, it) for it in ("operator", "web", "worker"))
        operator.open()
        written = InboundMessage("salon", ANNA, "m1", Kind.TEXT, "Hi")
        conversation = waiting(web)

        simulator.accepted(web, [written])
        simulator.Simulator("salon", worker).send(Outbound(ANNA, "Hello", "tag", ("m1",)))

        web.peek(conversation)
        shown = simulator.conversation(web.client, conversation)
        assert [it["text"] for it in shown] == ["Hi", "Hello"]
        assert simulator.forget(operator, conversation) == 2
        assert server.refusals() == set()


#: What a thief can still do: the user, the deed, and what finds it ("" for nothing).
DEEDS = [
    ("web", "HINCRBY {shard}:stats answered 1", "balance"),
    ("web", "ZREM {shard}:due {c}", "audit"),
    ("web", "HSET {shard}:c:{c} open_count 7", "audit"),
    ("web", "RPUSH {shard}:o:{c} text", "audit"),
    ("web", "DEL {shard}:d:{b}", "audit"),
    ("web", "HGETALL {shard}:c:{c}", ""),
    ("worker", "DEL {shard}:o:{c}", "audit"),
    ("worker", "DEL {shard}:c:{c}", "audit"),
    ("worker", "ZREM {shard}:dead {b}", "audit"),
    ("worker", "HSET {shard}:stats accepted 7", "balance"),
    ("worker", "LRANGE {shard}:o:{c} 0 -1", ""),
    ("scheduler", "HINCRBY {shard}:stats lost 1", "balance"),
    ("operator", "DEL {shard}:o:{c}", "audit"),
]


@pytest.mark.parametrize(("user", "deed", "finder"), DEEDS)
def test_what_a_thief_still_can_is_found_or_known_not_to_be(
    ledger: GuardedServer, user: str, deed: str, finder: str
) -> None:
    with ledger.admin() as client:
        client.flushdb()
    operator = store_of(ledger, "operator")
    operator.open()
    conversation, batch = waiting(operator), letter(operator)
    shard = operator.shard_of(conversation).prefix.removesuffix(":")
    assert found(operator) == ""

    with ledger.client(user=user) as client:
        client.execute_command(*deed.format(shard=shard, c=conversation, b=batch).split())

    assert found(operator) == finder


def found(store: Store) -> str:
    """Return which of the operator's verbs finds that something is wrong, "" for none."""
    if not all(it.holds for it in counters(store)):
        return "balance"
    return "audit" if audit(store).problems else ""


def test_worker_may_do_what_its_scripts_do() -> None:
    """What they run is no more than what the application may; here, that none is forgotten."""
    others = {"replay", "discard", "erase", "audit", "append", "link", "foreign"}
    files = resources.files("batching").joinpath("lua").iterdir()
    verbs = {file.name: file.read_text(encoding="utf-8") for file in files}
    its = "".join(text for name, text in verbs.items() if name.removesuffix(".lua") not in others)
    asked = {name.lower() for name in re.findall(r'redis\.p?call\(\s*"(\w+)"', its)}

    assert asked - commands("worker") == set()


@pytest.mark.parametrize("role", ["web", "worker"])
def test_role_that_may_not_load_scripts_starts_when_others_have(
    roles: GuardedServer, role: str
) -> None:
    with pytest.raises(LedgerUnavailableError, match=r"scripts_missing.*manage\.py check"):
        store_of(roles, role).open()

    store_of(roles, "operator").load_scripts()

    assert store_of(roles, role).open()


def test_scheduler_brings_scripts_back_after_a_restart_of_redis(roles: GuardedServer) -> None:
    scheduler, web = store_of(roles, "scheduler"), store_of(roles, "web")
    scheduler.open()
    with roles.admin() as client:
        client.script_flush()
    with pytest.raises(LedgerUnavailableError, match="scripts_missing"):
        waiting(web)

    scheduler.watch()

    assert scheduler.ledger_id() == web.ledger_id()
    assert store_of(roles, "operator").peek(waiting(web)).open_count == 1


def test_one_user_of_the_release_before_serves_as_it_did(roles: GuardedServer) -> None:
    """It may load scripts, and not ask which are there."""
    could = commands("app", waits=roles.waits) - {"script|exists"}
    former = " ".join(f"+{name}" for name in sorted(could))
    with roles.admin() as client:
        client.execute_command(
            *f"ACL SETUSER app reset on >{PASSWORDS['app']} ~aa:* ~{{aa*}}* -@all {former}".split()
        )
    app = store_of(roles, "app")

    assert app.open()
    assert app.peek(waiting(app)).open_count == 1


@pytest.mark.parametrize("command", ["FLUSHALL", "KEYS *", "HLEN aa:k", "GET foreign"])
def test_script_may_do_no_more_than_its_caller(ledger: GuardedServer, command: str) -> None:
    """A key that a script does not declare is no way around."""
    words = ", ".join(f'"{word}"' for word in command.split())
    with ledger.client() as client:
        digest = client.script_load(f"return redis.call({words})")

        with pytest.raises(redis.ResponseError, match=REFUSAL):
            client.evalsha(str(digest), 0)


def test_nobody_comes_without_a_password(ledger: GuardedServer) -> None:
    with (
        redis.Redis(unix_socket_path=ledger.socket, protocol=2) as client,
        pytest.raises(redis.exceptions.AuthenticationError),
    ):
        client.ping()


@pytest.mark.parametrize("login", [(), ("default", ""), ("default", "password")])
def test_nobody_is_the_default_user(ledger: GuardedServer, login: tuple[str, ...]) -> None:
    with (
        redis.Redis(unix_socket_path=ledger.socket, protocol=2, driver_info=None) as client,
        pytest.raises(redis.RedisError, match=r"WRONGPASS|uthentication required|invalid username"),
    ):
        client.execute_command(*(("AUTH", *login) if login else ("GET", "aa:k")))


@pytest.mark.parametrize("program", ["valkey", "redis-server"])
def test_what_scripts_wrote_is_there_after_a_restart(
    program: str, valkey_binary: str, guard: Guard
) -> None:
    """Redis 7.0 replays what a script did as a transaction of its user ``default``."""
    with started(GuardedServer(binary_of(program, valkey_binary), guard, "app")) as server:
        with server.client() as client:
            digest = client.script_load(
                'redis.call("HSET", KEYS[1], "a", 1) redis.call("HSET", KEYS[1], "b", 2)'
            )
            client.evalsha(str(digest), 1, "aa:kept")

        server.kill()
        server.start()

        with server.client() as client:
            kept = client.hgetall("aa:kept")
    assert kept == {b"a": b"1", b"b": b"2"}


def test_passwords_are_kept_as_digests_alone(ledger: GuardedServer) -> None:
    text = (ledger.directory / "users.acl").read_text()

    assert "password" not in text
