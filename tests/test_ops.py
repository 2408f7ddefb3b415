"""Rules for Prometheus and dashboards for Grafana: their names, their links, their tests."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import falcon.testing
import jinja2
import pytest
import yaml

from runtime.build import build
from tests.conftest import needed
from tests.repository import ROOT, relative
from tests.test_doc_names import slugs
from web import create_app

RULES = [ROOT / "ops" / "prometheus" / name for name in ("recording.yml", "alerts.yml")]
TESTS = ROOT / "ops" / "prometheus" / "tests.yml"
DASHBOARDS = sorted((ROOT / "ops" / "grafana").glob("*.json"))
#: Names of ours in an expression, and of ours that rules record.
NAME = re.compile(r"\b(?:\w+:)?ai_admin[\w:]*")
#: What Grafana puts in place of its variables.
VARIABLES = {"$account": "salon", "$__rate_interval": "1m"}
WIDTH = 24


def rules(kind: str) -> list[dict[str, Any]]:
    """Return the rules that have a key ``kind``: "record" or "alert"."""
    groups = [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"] if kind in rule]


def panels() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            yield f"{relative(path)}: {panel['title']}", panel


def expressions() -> Iterator[tuple[str, str]]:
    """Yield every expression, and where it stands."""
    for rule in [*rules("record"), *rules("alert")]:
        yield rule.get("record") or rule["alert"], rule["expr"]
    for where, panel in panels():
        for target in panel["targets"]:
            expression = target["expr"]
            for name, value in VARIABLES.items():
                expression = expression.replace(name, value)
            yield where, expression


def scraped(demo_environ: dict[str, str]) -> set[str]:
    """Return the name of every series, its buckets and sums too, that a web process tells."""
    runtime = build("web", demo_environ)
    text = falcon.testing.TestClient(create_app(runtime)).simulate_get("/metrics").text
    runtime.store.client.connection_pool.disconnect()
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)", text, re.MULTILINE))
    parts = [f"{it}{part}" for it, kind in types.items() if kind == "histogram" for part in PARTS]
    return {*types, *parts}


PARTS = ("_bucket", "_count", "_sum")


def test_every_metric_of_a_rule_or_a_panel_is_there(demo_environ: dict[str, str]) -> None:
    known = scraped(demo_environ) | {rule["record"] for rule in rules("record")}

    missing = [
        f"{where}: {name}"
        for where, expression in expressions()
        for name in NAME.findall(expression)
        if name not in known
    ]

    assert missing == []


def test_every_alert_says_what_to_do_and_where_to_read_on() -> None:
    sections = slugs(ROOT / "docs" / "runbook.md")
    lacking = [
        rule["alert"]
        for rule in rules("alert")
        if rule["labels"]["severity"] not in {"page", "ticket"}
        or not all(rule["annotations"].get(name) for name in ("summary", "action"))
        or rule["annotations"]["runbook"].partition("docs/runbook.md#")[2] not in sections
    ]

    assert lacking == []


def test_every_alert_is_proved_to_be_raised_and_not_to_be() -> None:
    healthy, *others = yaml.safe_load(TESTS.read_text())["tests"]
    alerts = {rule["alert"] for rule in rules("alert")}

    assert {it["alertname"] for it in healthy["alert_rule_test"]} == alerts
    assert not any(it["exp_alerts"] for it in healthy["alert_rule_test"])
    assert {
        it["alertname"] for test in others for it in test["alert_rule_test"] if it["exp_alerts"]
    } == alerts


@pytest.mark.parametrize("command", [["check", "rules", *RULES], ["test", "rules", TESTS]])
def test_prometheus_takes_the_rules(command: list[str | Path]) -> None:
    done = subprocess.run(
        [needed("promtool"), *command], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_the_expressions_of_all_panels(tmp_path: Path) -> None:
    asked = [{"record": f"panel{n}", "expr": it} for n, (_, it) in enumerate(expressions())]
    asked_of = tmp_path / "panels.yml"
    asked_of.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": asked}]}))

    done = subprocess.run(
        [needed("promtool"), "check", "rules", asked_of],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("asked", [False, True])
def test_prometheus_takes_the_configuration_of_the_playbooks(
    tmp_path: Path, *, asked: bool
) -> None:
    """With an exporter and an Alertmanager, or without."""
    for path in RULES:
        shutil.copy(path, tmp_path)
    (tmp_path / "token").write_text("token")
    template = ROOT / "ansible" / "roles" / "monitoring" / "templates" / "prometheus.yml.j2"
    environment = jinja2.Environment(
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - no page, but what Prometheus reads
    )
    environment.filters["to_json"] = json.dumps
    configuration = tmp_path / "prometheus.yml"
    configuration.write_text(
        environment.from_string(template.read_text()).render(
            ansible_managed="By Ansible",
            monitoring_every_s=15,
            monitoring_directory=tmp_path,
            monitoring_alertmanagers=["10.0.0.9:9093"] if asked else [],
            monitoring_web_listens=["10.0.0.1:8000", "[fd00::2]:8000"],
            monitoring_redis_address="10.0.0.1" if asked else "",
        )
    )

    done = subprocess.run(
        [needed("promtool"), "check", "config", configuration],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    jobs = [it["job_name"] for it in yaml.safe_load(configuration.read_text())["scrape_configs"]]
    assert jobs == ["ai-admin"] + ["ai-admin-redis"] * asked


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_dashboard_can_be_imported(path: Path) -> None:
    """What Grafana needs: ids of their own, places that do not overlap, one chosen source."""
    board = json.loads(path.read_text())
    taken = [
        (panel["gridPos"]["x"] + dx, panel["gridPos"]["y"] + dy)
        for panel in board["panels"]
        for dx in range(panel["gridPos"]["w"])
        for dy in range(panel["gridPos"]["h"])
    ]
    sources = {target["datasource"]["uid"] for it in board["panels"] for target in it["targets"]}
    ids = [panel["id"] for panel in board["panels"]]
    variables = [it["name"] for it in board["templating"]["list"]]

    assert (board["uid"], board["schemaVersion"] >= 36) == (f"ai-admin-{path.stem}", True)
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < WIDTH
    assert len(ids) == len(set(ids))
    assert sources == {"${datasource}"}
    assert variables == ["datasource"] + ["account"] * (path.stem == "account")
