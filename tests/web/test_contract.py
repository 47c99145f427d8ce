"""
The API keeps to its own description, whatever is sent: no 5xx, no answer that is not described.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from litestar import Litestar
from litestar.testing import TestClient
from schemathesis.specs.openapi.checks import positive_data_acceptance

from backlog_store.backends.memory import open_memory
from backlog_store.backlog import Backlog
from backlog_store.executors.local import LocalExecutor
from backlog_store.testing.clocks import CountingIds, StepClock
from backlog_store.web import problems
from backlog_store.web.api import api_routes
from backlog_store.web.app import create_app
from backlog_store.web.openapi import description
from backlog_store.web.routing import Route
from backlog_store.web.site import Asker, Site
from tests.sizes import REQUESTS


def _app() -> Litestar:
    backlog = Backlog(LocalExecutor(open_memory()), actor="scanner", clock=StepClock(), ids=CountingIds())
    for number in range(5):
        backlog.upsert(title=f"Item {number}", dedupe_key=f"k{number}", service="web")
    return create_app(Site(backlog=backlog, sign_in=lambda _: Asker(name="ann", person=True)), api_routes())


@schemathesis.serializer("application/x-ndjson")
def _lines(_: Any, value: Any) -> bytes:
    """
    Send what was made up as it is: lines of JSON, or not.
    """
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", _app())
_OPERATIONS = sum(route.path.startswith("/api/v1") for route in api_routes())


@pytest.mark.filterwarnings("ignore")
@schema.parametrize()
@settings(max_examples=max(1, REQUESTS // _OPERATIONS), deadline=None, suppress_health_check=list(HealthCheck),
          derandomize=True)  # fmt: skip
def test_every_operation_does_what_it_says(case: Any) -> None:
    """
    Valid and invalid requests alike are answered as the description says.
    """
    # What JSON Schema cannot say (a day that exists, a query that parses, an id that is known) is refused by 422.
    case.call_and_validate(excluded_checks=[positive_data_acceptance])


class Walk(schema.as_state_machine()):  # type: ignore[misc]
    """
    Operations one after the other, each with what those before it gave: ids, names, tokens.
    """

    def validate_response(self, response: Any, case: Any, **_: Any) -> None:
        """
        Hold an answer against the description.
        """
        case.validate_response(response, excluded_checks=[positive_data_acceptance])


TestWalk = Walk.TestCase
TestWalk.settings = settings(max_examples=max(1, REQUESTS // 60), stateful_step_count=8, deadline=None,
                             suppress_health_check=list(HealthCheck), derandomize=True)  # fmt: skip


def test_every_route_is_described() -> None:
    """
    No route of the API is missing in its description, and each body refuses members that it does not know.
    """
    told = description(api_routes(), "/api/v1")
    operations = {(method.upper(), path) for path, methods in told["paths"].items() for method in methods}
    assert len(operations) == _OPERATIONS
    contents = [operation["requestBody"]["content"] for methods in told["paths"].values()
                for operation in methods.values() if "requestBody" in operation]  # fmt: skip
    # A report may be of any format: it has media types, and no schema.
    bodies = [content["application/json"]["schema"]["$ref"].rsplit("/", 1)[1] for content in contents
              if content.get("application/json")]  # fmt: skip
    assert len(bodies) == sum(route.body is not None for route in api_routes())
    for name in bodies:
        assert told["components"]["schemas"][name]["additionalProperties"] is False


@pytest.mark.parametrize("route", [one for one in api_routes() if one.path.startswith("/api/v1/") and one.action],
                         ids=lambda one: f"{one.method} {one.path}")  # fmt: skip
def test_no_route_takes_a_parameter_that_it_does_not_know(route: Route) -> None:
    """
    A misspelt parameter is told, never taken for none: not by a read, and not by a write that would go on without it.
    """
    path = re.sub(r"{\w+:\w+}", "x", route.path)
    with TestClient(_app()) as client:
        response = client.request(route.method, f"{path}?nosuch=1", content=b"[]")
    assert response.status_code == 422
    assert "/nosuch" in [fault["pointer"] for fault in response.json()["errors"]]


def test_every_code_is_documented() -> None:
    """
    Each code that the service refuses by itself stands in the table that the reference is made from, and no other.
    """
    folder = Path(problems.__file__).parent
    used = {code for path in folder.rglob("*.py") for code in re.findall(r'code="(\w+)"', path.read_text())}
    # Two are made where the framework's errors are told.
    assert used | {"invalid_request", "internal"} == set(problems.CODES)
