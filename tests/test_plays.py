"""What is refused before a host is touched: by the playbooks' own filters, and by playing them."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from runtime.settings import RENAMED
from tests.repository import ROOT

PLAYBOOKS = ROOT / "ansible"
FILTERS = PLAYBOOKS / "plugins" / "filter" / "asked.py"
EXAMPLE = (ROOT / ".env.example").read_text()
ACCOUNTS = '[salon]\napp_secret_env = "APP_SECRET"\nmodels = [{key_env = "MODEL_KEY"}]\n'
#: Groups of an inventory with which all is well.
ONE = {name: ["one"] for name in ("ledger", "web", "workers", "scheduler")}
#: Never shown: it may be a secret.
VALUE = "0123456789-value"


def plugin() -> Any:
    spec = importlib.util.spec_from_file_location("asked", FILTERS)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


asked = plugin()


@pytest.mark.parametrize(
    ("groups", "faults"),
    [
        (ONE, []),
        (ONE | {"all": ["one"], "ungrouped": [], "production": ["one"]}, []),
        (ONE | {"web": []}, ["the inventory has no host in the group web"]),
        (ONE | {"web_eu": ["one"], "workers_blue": ["one"]}, []),
        (ONE | {"ledger": ["one", "two"]}, ["the group ledger has 2 hosts: it may have 1"]),
        (ONE | {"broker": ["one", "two"]}, ["the group broker has 2 hosts: it may have 1"]),
    ],
)
def test_groups_have_the_hosts_that_they_need(
    groups: Mapping[str, list[str]], faults: list[str]
) -> None:
    assert asked.asked_groups(groups, {"one": {}}) == faults


def test_ledger_of_somebody_else_is_on_no_host() -> None:
    elsewhere = {"one": {"topology_ledger_address": "redis.example.net"}}
    without = ONE | {"ledger": []}

    assert asked.asked_groups(without, elsewhere) == []
    assert asked.asked_groups(without, {"one": {}}) == [
        "the inventory has no host in the group ledger"
    ]


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("worker", "workers"),
        ("schedulers", "scheduler"),
        ("proxies", "proxy"),
        ("Web", "web"),
        ("monitor", "monitoring"),
        ("brokers", "broker"),
    ],
)
def test_group_that_is_like_one_of_ours_is_refused(name: str, near: str) -> None:
    (fault,) = asked.asked_groups(ONE | {name: ["two"]}, {})

    assert fault.startswith(f"{name} is no group that is played on: did you mean {near}?")


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("deployment_setings", "deployment_settings"),
        ("deploymnet_settings", "deployment_settings"),
        ("deployment_accounts", "deployment_accounts_file"),
        ("ledger_web_pasword", "ledger_web_password"),
        ("LEDGER_WEB_PASSWORD", "ledger_web_password"),
        ("proxy_servername", "proxy_server_name"),
        ("sentry_organisation", "sentry_organization"),
        ("topology_network_private", "topology_network_is_private"),
        ("verify_ignore", "verify_ignored"),
        ("RELEASE", "release"),
        ("release_ref_", "release_ref"),
        ("private_adress", "private_address"),
        ("drainhost", "drain_host"),
        ("drained_host", "drained_hosts"),
        ("handover_try", "handover_tries"),
    ],
)
def test_variable_that_no_role_reads_is_refused(name: str, near: str) -> None:
    faults = list(asked.faults_of({name: VALUE}))

    assert faults == [f"{name} is no variable of these playbooks: did you mean {near}?"]


@pytest.mark.parametrize("name", ["canary_url", "ledger_ports", "handover_failure", "app_zzzzzz"])
def test_variable_with_a_prefix_of_ours_is_refused_though_it_is_like_none(name: str) -> None:
    (fault,) = asked.faults_of({name: VALUE})

    assert fault.startswith(f"{name} is no variable of these playbooks")


def test_variables_of_others_are_theirs() -> None:
    others = ("ansible_user", "groups", "inventory_dir", "playbook_dir", "vault_salon", "region")

    assert list(asked.faults_of(dict.fromkeys(others, VALUE))) == []


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("proxy_listen", 443, "proxy_listen is a number: it must be a list"),
        ("proxy_listen", "443", "proxy_listen is a text: it must be a list, by -e as JSON"),
        ("verify_ignored", "overdue", "verify_ignored is a text: it must be a list, by -e as JSON"),
        ("deployment_kept", [1], "deployment_kept is a list: it must be a whole number"),
        ("deployment_kept", True, "deployment_kept is true or false: it must be a whole number"),
        ("deployment_kept", "few", "deployment_kept is a text: it must be a whole number"),
        ("deployment_settings", ["A=1"], "deployment_settings is a list: it must be a table"),
        ("deployment_settings", None, "deployment_settings has no value"),
        ("proxy_server_name", {"a": 1}, "proxy_server_name is a table: it must be a text"),
        (
            "topology_network_is_private",
            "false",
            "topology_network_is_private is a text: it must be true or false, by -e as JSON",
        ),
    ],
)
def test_variable_of_another_type_is_refused(name: str, value: object, fault: str) -> None:
    (said,) = asked.faults_of({name: value})

    assert said.startswith(fault)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("deployment_kept", "0"),
        ("deployment_kept", "{{ few }}"),
        ("proxy_listen", ["443"]),
        ("proxy_listen", "{{ doors }}"),
        ("topology_network_is_private", False),
        ("deployment_settings", {}),
        ("ledger_web_password", 123),
    ],
)
def test_variable_that_its_role_can_use_is_taken(name: str, value: object) -> None:
    assert list(asked.faults_of({name: value})) == []


def test_what_the_inventory_to_copy_names_is_known() -> None:
    given: dict[str, Any] = {}
    for path in (PLAYBOOKS / "inventories").rglob("*.yml"):
        read = yaml.safe_load(path.read_text())
        given |= read if path.parent.name == "all" else {}

    unknown = [it for it in asked.faults_of(given) if "has no value" not in it]

    assert given
    assert unknown == []


@pytest.mark.parametrize(
    ("settings", "secrets", "faults"),
    [
        ({"CANARY_URL": "x", "BATCH_IDLE_MS": 900}, {"PRIVACY_KEY": "x"}, []),
        ({"HTTPS_PROXY": "x", "TZ": "UTC", **dict.fromkeys(RENAMED, "1")}, {"no_proxy": "x"}, []),
        ({}, {"APP_SECRET": "x", "MODEL_KEY": "x"}, []),
        # Of an account that is gone: it is told of, and harms nobody.
        ({}, {"APP_SECRET": "x", "APP2_SECRET": "x", "BARBER_PASSPHRASE": "x"}, []),
        (
            {"CANARY_URI": VALUE},
            {},
            ["deployment_settings has CANARY_URI, which is no setting: did you mean CANARY_URL?"],
        ),
        (
            {"canary_url": VALUE},
            {},
            ["deployment_settings has canary_url, which is no setting: did you mean CANARY_URL?"],
        ),
        (
            {},
            {"SENTRY_DNS": VALUE},
            ["deployment_secrets has SENTRY_DNS, which is no setting: did you mean SENTRY_DSN?"],
        ),
        (
            {},
            {"APP_SECERT": VALUE},
            ["deployment_secrets has APP_SECERT, which is no setting: did you mean APP_SECRET?"],
        ),
        ({"COLOUR": VALUE}, {}, ["deployment_settings has COLOUR, which is no setting"]),
        (
            {"NOTIFY_URLS": [VALUE], "CANARY_URL": None},
            {},
            [
                "deployment_settings.NOTIFY_URLS is a list: it must be a text or a number",
                "deployment_settings.CANARY_URL is nothing: it must be a text or a number",
            ],
        ),
        (
            {"SENTRY_DSN": VALUE},
            {"SENTRY_DSN": VALUE},
            ["SENTRY_DSN is in deployment_settings and in deployment_secrets"],
        ),
    ],
)
def test_settings_and_secrets_are_those_of_the_release(
    settings: Mapping[str, Any], secrets: Mapping[str, Any], faults: list[str]
) -> None:
    assert asked.asked_settings(settings, secrets, EXAMPLE, ACCOUNTS) == faults


def test_former_names_of_settings_are_known() -> None:
    assert set(RENAMED) == asked.FORMER


@pytest.mark.parametrize(
    ("run", "known", "skipped", "is_refused"),
    [
        (["all"], ["servers", "settings"], [], False),
        (["servers", "settings"], ["servers", "settings"], [], False),
        (["all"], ["servers", "release"], ["servers"], False),
        (["web"], ["servers", "settings"], [], True),
        (["tagged"], ["servers"], [], True),
        (["untagged"], ["servers"], [], True),
        (["always"], ["servers"], [], True),
        (["servers"], [], [], True),
        (["all"], ["servers", "release"], ["release"], True),
        (["all"], ["release"], ["servers"], True),
        (["all"], ["servers"], ["always"], True),
    ],
)
def test_tags_that_would_leave_half_are_refused(
    run: list[str], known: list[str], skipped: list[str], *, is_refused: bool
) -> None:
    assert bool(asked.asked_tags(run, known, skipped)) is is_refused


@pytest.mark.parametrize("name", ["site", "deploy", "reload"])
def test_plays_that_no_tag_chose_validate_nothing(name: str) -> None:
    """Of a host that nothing is known of yet, no argument of a role can be."""
    _, *plays, proof = yaml.safe_load((PLAYBOOKS / f"{name}.yml").read_text())

    assert [play["name"] for play in plays if "ansible_run_tags" not in play["when"]] == []
    assert proof["tags"] == ["verify", "never"]


def test_limit_that_leaves_hosts_out_is_refused() -> None:
    groups = ONE | {"workers": ["one", "two"], "others": ["three"]}

    assert asked.asked_limit(["one", "two"], groups) == []
    (fault,) = asked.asked_limit(["one"], groups)
    assert fault.startswith("--limit leaves out two: a handover is of all hosts")


#: Files of a deployment as a host has them.
RUNNING = {
    "env": 'BATCH_IDLE_MS="900"\nDOCS_URL="a \\"b\\""\nENVIRONMENT="production"\nRELEASE="r1"\n',
    "redis-web": 'REDIS_URL="redis://web:secret@ledger"\n',
    "secrets-web": json.dumps({"PRIVACY_KEY": VALUE, "APP_SECRET": VALUE}),
    "secrets-worker": json.dumps({"MODEL_KEY": VALUE}),
    "accounts.toml": ACCOUNTS,
    "prompts/salon.md": "Open 9-18\n",
}
PLAIN = {"BATCH_IDLE_MS": 900, "DOCS_URL": 'a "b"', "ENVIRONMENT": "production"}
SECRETS = {"PRIVACY_KEY": VALUE, "APP_SECRET": VALUE, "MODEL_KEY": VALUE, "OF_NOBODY": VALUE}


def changes(
    plain: Mapping[str, Any] = PLAIN,
    secrets: Mapping[str, Any] = SECRETS,
    accounts: str = ACCOUNTS,
    prompt: str = "Open 9-18\n",
    *,
    with_lines: bool = False,
) -> list[str]:
    wanted = {"plain": plain, "accounts": accounts, "prompts": {"salon.md": prompt}}
    found: list[str] = asked.asked_changes(RUNNING, wanted, secrets, EXAMPLE, with_lines=with_lines)
    return found


def test_deployment_that_is_the_same_has_no_changes() -> None:
    assert changes() == []
    assert changes(PLAIN | {"CANARY_URL": ""}) == []


def test_changes_are_told_by_name() -> None:
    plain = {"BATCH_IDLE_MS": 901, "ENVIRONMENT": "production", "CANARY_URL": "https://a"}
    secrets = {"PRIVACY_KEY": VALUE, "APP_SECRET": f"{VALUE}2", "SENTRY_DSN": VALUE}

    assert changes(plain, secrets) == [
        "APP_SECRET: another",
        "BATCH_IDLE_MS: another",
        "CANARY_URL: new",
        "DOCS_URL: gone",
        "MODEL_KEY: gone",
        "SENTRY_DSN: new",
    ]


def test_changes_of_accounts_and_prompts_are_told_by_line_without_secrets() -> None:
    accounts = f'{ACCOUNTS}[other]\nnote = "{VALUE}"\n'

    assert changes(accounts=accounts, prompt="Open 9-19\n") == [
        "accounts.toml: another",
        "prompts/salon.md: another",
    ]
    lines = changes(accounts=accounts, prompt="Open 9-19\n", with_lines=True)
    assert {'+note = "***"', "-Open 9-18", "+Open 9-19"} <= {*lines}
    assert VALUE not in "".join(lines)


def test_hosts_that_do_not_answer_are_told_with_what_to_do() -> None:
    pings = {
        "one": {"ping": "pong"},
        "two": {"unreachable": True, "msg": "Task failed: no route to host."},
        "three": {
            "failed": True,
            "msg": "Task failed:\n>>> Standard Error\npassword",
        },
        "four": {"skipped": True},
    }

    assert asked.asked_silence(pings) == [
        "two cannot be reached: no route to host",
        "three does not let us work: password: play with -K, which asks for the password",
    ]


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    """Return an inventory whose one host is this machine, as far as it is ever asked."""
    host = {"ansible_connection": "local", "ansible_become": False}
    children = {name: {"hosts": {"one": None}} for name in ONE}
    (tmp_path / "hosts.yml").write_text(
        json.dumps({"all": {"hosts": {"one": host}, "children": children}})
    )
    (tmp_path / "accounts.toml").write_text(ACCOUNTS)
    (tmp_path / "prompts").mkdir()
    return tmp_path


Play = Callable[..., str]


@pytest.fixture
def refused(inventory: Path) -> Play:
    """Return what plays a playbook that must be refused, and returns what it printed."""

    def play(playbook: str, *arguments: str, **variables: object) -> str:
        given = {"release_repository": str(ROOT), "release": "HEAD", **variables}
        played = subprocess.run(
            [
                *(sys.executable, "-m", "ansible", "playbook", playbook),
                *(f"--inventory={inventory / 'hosts.yml'}", f"--extra-vars={json.dumps(given)}"),
                *arguments,
            ],
            cwd=PLAYBOOKS,
            env=os.environ | {"ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_LOCAL_TEMP": str(inventory)},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert played.returncode == 2, played.stdout + played.stderr
        assert "changed=0" in played.stdout
        # In their own words, at once and at the end, and nothing of Ansible's around them.
        assert "fatal: [one]: Refused: " in played.stdout
        _, _, verdict = played.stdout.partition("PLAY RECAP")
        assert "Origin:" not in played.stdout + played.stderr
        return verdict

    return play


def test_playbook_says_all_that_is_wrong_with_its_inventory_at_once(refused: Play) -> None:
    said = refused(
        "site.yml",
        "--tags=web",
        deployment_setings={"PRIVACY_KEY": VALUE},
        proxy_listen=443,
        RELEASE="v1",
    )

    for sentence in (
        "--tags web would leave out what belongs together: the tags are servers, release,",
        "deployment_setings is no variable of these playbooks: did you mean deployment_settings?",
        "proxy_listen is a number: it must be a list.",
        "RELEASE is no variable of these playbooks: did you mean release?",
    ):
        assert f"Refused: {sentence}" in said
    assert VALUE not in said


def test_playbook_refuses_a_setting_that_the_release_does_not_have(refused: Play) -> None:
    said = refused("deploy.yml", deployment_settings={"CANARY_URI": VALUE})

    assert (
        "Refused: deployment_settings has CANARY_URI, which is no setting: "
        "did you mean CANARY_URL?" in said
    )
    assert VALUE not in said


def test_no_task_reads_what_a_terminal_shows() -> None:
    """`script` has one, in which errors stand between the lines of the output."""
    tasks = [*PLAYBOOKS.glob("roles/*/tasks/*.yml"), *PLAYBOOKS.glob("plays/*.yml")]
    assert [str(path) for path in tasks if "ansible.builtin.script" in path.read_text()] == []
