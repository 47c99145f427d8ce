"""
Running the service: the guide and the files of deploy/ name what there is.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from backlog_store.backends.memory import open_memory
from backlog_store.backlog import Backlog
from backlog_store.cli.main import cli
from backlog_store.commands import SetWebhook
from backlog_store.executors.failover import FailoverExecutor
from backlog_store.web.api import api_routes
from backlog_store.web.metrics import Metrics
from backlog_store.webhooks.messages import secret_from

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
GUIDE = (ROOT / "docs/guides/running.md").read_text(encoding="utf-8")
#: Told by Prometheus itself of whatever it asks.
OF_PROMETHEUS = {"up"}
_NAME = re.compile(r"\b(?:backlog_\w+|up(?=[{ ]))")


@pytest.fixture
def told(tmp_path: Path) -> set[str]:
    """
    Return the name of each series that /metrics gives, under auto, after a request.
    """
    metrics = Metrics()
    metrics.requests.labels("GET", "/", "200").inc()
    metrics.seconds.labels("GET", "/").observe(0.1)
    metrics.deliveries.labels("delivered").inc()
    with Backlog(FailoverExecutor(open_memory, tmp_path / "spool", background=False)) as backlog:
        url = "https://hooks.example.org/"
        backlog.execute(SetWebhook(name="chat", url=url, over=0, secret=secret_from("ab" * 32)))
        text = metrics.text(backlog).decode()
    return {sample.name for family in text_string_to_metric_families(text) for sample in family.samples}


def rules() -> list[dict[str, Any]]:
    """
    Return the alert rules.
    """
    groups = yaml.safe_load((DEPLOY / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    """
    Return the panels of the dashboard.
    """
    found: list[dict[str, Any]] = json.loads((DEPLOY / "dashboard.json").read_text(encoding="utf-8"))["panels"]
    return found


def test_alert_rules_name_metrics_that_there_are(told: set[str]) -> None:
    """
    A rule over a series that nobody gives would be silent for ever.
    """
    for rule in rules():
        named = set(_NAME.findall(rule["expr"]))
        assert named, rule["alert"]
        assert named <= told | OF_PROMETHEUS, rule["alert"]
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]


def test_the_dashboard_names_metrics_that_there_are(told: set[str]) -> None:
    """
    No panel is empty for want of its series; none lies over another.
    """
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                 for y in range(place["y"], place["y"] + place["h"])}  # fmt: skip
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells
        for target in panel["targets"]:
            named = set(_NAME.findall(target["expr"]))
            assert named, panel["title"]
            assert named <= told | OF_PROMETHEUS, panel["title"]
    assert len({panel["id"] for panel in panels()}) == len(panels())


def test_the_guide_tells_every_metric(told: set[str]) -> None:
    """
    What is counted stands in the table, and the table names nothing else.
    """
    named = set(re.findall(r"`(backlog_\w+)`", GUIDE))
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in told if name.startswith("backlog_")}
    assert named == families


def _options(command: str) -> set[str]:
    found = cli.get_command(click.Context(cli), command)
    assert found is not None
    return {option for parameter in found.params for option in parameter.opts}


@pytest.mark.parametrize("name", ["backlog.service", "Containerfile"])
def test_what_is_started_has_the_options_that_it_is_given(name: str) -> None:
    """
    An option that was renamed would keep the service from starting.
    """
    text = (DEPLOY / name).read_text(encoding="utf-8")
    [line] = [one for one in text.splitlines() if one.startswith(("ExecStart=", "CMD"))]
    words = re.findall(r"--?[\w-]+", line.partition("=" if "ExecStart" in line else "[")[2])
    given = {word for word in words if word.startswith("--")}
    assert given
    assert given <= _options("serve")
    assert {option for option in re.findall(r"`(--[\w-]+)", GUIDE) if option != "--role"} <= _options("serve")


def test_the_image_runs_as_nobody_in_particular_and_looks_at_its_health() -> None:
    """
    The last user is a number other than 0, and the health check asks a path that there is.
    """
    text = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    users = re.findall(r"^USER (\S+)$", text, re.MULTILINE)
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1])
    assert text.index("USER ") < text.index("ENTRYPOINT")
    [path] = re.findall(r"HEALTHCHECK.*?8420(/\w+)", text, re.DOTALL)
    assert path in {route.path for route in api_routes() if route.action is None}
    # All that the image is built from is there, and it is pinned to a version of Python.
    copied = " ".join(re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE)).split()
    assert all((ROOT / one).exists() for one in copied)
    # An engine is given that, and nothing else of the checkout.
    given = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert given[1] == "*"
    assert [line for line in given if line.startswith("!")] == [f"!{one}" for one in copied]
    assert all(":3." in one for one in re.findall(r"^FROM (\S+)", text, re.MULTILINE))


def test_every_file_of_deploy_is_explained_and_every_link_leads_somewhere() -> None:
    """
    What lies in deploy/ stands in the guide.
    """
    explained = set(re.findall(r"^\| `([\w-]+\.?\w*)` \|", GUIDE.partition("## Files to begin with")[2], re.MULTILINE))
    assert {path.name for path in DEPLOY.iterdir()} == explained
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", GUIDE):
        assert (ROOT / "docs/guides" / link).exists(), link
