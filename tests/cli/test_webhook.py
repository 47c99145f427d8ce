"""
`backlog webhook` on the command line, with a real receiver.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.conftest import Cli
from tests.webhooks.receiver import Receiver


@pytest.fixture
def receiver(cli: Cli) -> Iterator[Receiver]:
    """
    Return a receiver that the settings let webhooks go to.
    """
    cli.env |= {"BACKLOG_WEBHOOK_HOSTS": "127.0.0.1", "BACKLOG_WEBHOOK_NETWORKS": "127.0.0.0/8"}
    running = Receiver()
    yield running
    running.stop()


def test_from_adding_to_removing(cli: Cli, receiver: Receiver) -> None:
    """Added, tried, delivered, listed, looked at, replayed, paused, resumed and removed; the secret is shown once."""
    secret = cli("webhook", "add", "chat", receiver.url, "--type", "created").stdout.strip()
    assert secret.startswith("whsec_")
    assert "delivered  204" in cli("webhook", "test", "chat").stdout
    assert "backlog.ping" == receiver.got[0].event["type"]
    cli.add("one")
    assert {"delivered": 1} == cli.json("webhook", "deliver", "--once")
    assert receiver.got[1].is_signed(cli.json("webhook", "log", "chat")[0]["at"], secret)
    [row] = cli.json("webhook", "list")
    assert ("on", "created", 1, 0) == (row["state"], row["of"], row["delivered"], row["kept"])
    assert secret not in cli("webhook", "list", "--json").stdout + cli("log", "--json").stdout
    cli("webhook", "replay", "chat", "--since", "all")
    cli("webhook", "pause", "chat")
    assert {} == cli.json("webhook", "deliver", "--once")
    assert "off: paused" == cli.json("webhook", "list")[0]["state"]
    cli("webhook", "resume", "chat")
    assert {"delivered": 1} == cli.json("webhook", "deliver", "--once")
    cli("webhook", "remove", "chat")
    assert [] == cli.json("webhook", "list")
    cli("verify")


def test_what_was_refused_is_shown_and_sent_again(cli: Cli, receiver: Receiver) -> None:
    """`log --kept` shows it with its reason, and `replay` delivers it now."""
    cli("webhook", "add", "chat", receiver.url)
    cli.add("one")
    receiver.answer = lambda _: (400, {})
    assert {"refused": 1} == cli.json("webhook", "deliver", "--once")
    [kept] = cli.json("webhook", "log", "chat", "--kept")
    assert (1, "the receiver answered 400") == (kept["attempts"], kept["error"])
    receiver.answer = lambda _: (204, {})
    assert {} == cli.json("webhook", "deliver", "--once")
    cli("webhook", "replay", "chat")
    assert {"delivered": 1} == cli.json("webhook", "deliver", "--once")
    assert [] == cli.json("webhook", "log", "chat", "--kept")


def test_a_host_that_nobody_named_is_refused(cli: Cli) -> None:
    """Neither added nor delivered to, and the hint says who may change that."""
    said = cli("webhook", "add", "chat", "https://hooks.example.org/", expect=4).stderr
    assert "BACKLOG_WEBHOOK_HOSTS" in said
    assert "BACKLOG_WEBHOOK_HOSTS" in cli("webhook", "deliver", "--once", expect=2).stderr


def test_a_hint_is_about_what_is_wrong(cli: Cli) -> None:
    """It adds the host to those that are named; what is no address is told with all else that is wrong."""
    cli.env |= {"BACKLOG_WEBHOOK_HOSTS": "hooks.example.org"}
    said = cli("webhook", "add", "chat", "https://other.example.org/", expect=4).stderr
    assert "BACKLOG_WEBHOOK_HOSTS=hooks.example.org,other.example.org" in said
    said = cli("webhook", "add", "Chat!", "ftp://hooks.example.org/", "-q", "ownr:me", expect=2).stderr
    assert [part in said for part in ("/name", "/url", "/query", "BACKLOG_WEBHOOK_HOSTS")] == [True, True, True, False]


@pytest.mark.parametrize("url", ["https://[/x", "https://a..example.org/x"])
def test_an_address_that_cannot_be_is_refused_in_words(cli: Cli, url: str) -> None:
    """What is no address is told as that, and nothing is added."""
    cli.env |= {"BACKLOG_WEBHOOK_HOSTS": "*.example.org"}
    cli.add("one")
    result = cli("webhook", "add", "chat", url, expect=None)
    assert result.exit_code in (2, 3, 4)
    assert "internal error" not in result.stderr
    assert [] == cli.json("webhook", "list")


@pytest.mark.parametrize("args", [
    ("add", "Chat!", "https://hooks.example.org/"), ("add", "chat", "ftp://hooks.example.org/"),
    ("add", "chat", "https://hooks.example.org/", "-q", "priority:"), ("test", "nobody"), ("log", "nobody"),
    ("replay", "nobody"), ("remove", "nobody"), ("pause", "nobody"),
])  # fmt: skip
def test_what_cannot_be_is_refused_in_words(cli: Cli, args: tuple[str, ...]) -> None:
    """A name, an address or a query that is none, and a webhook that is not there."""
    cli.env |= {"BACKLOG_WEBHOOK_HOSTS": "hooks.example.org"}
    cli.add("one")
    result = cli("webhook", *args, expect=None)
    assert result.exit_code in (2, 3, 4)
    assert result.stderr.startswith(("error:", "Usage"))
