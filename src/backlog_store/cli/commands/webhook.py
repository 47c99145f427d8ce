"""
`backlog webhook`.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import click
from msgspec.structs import replace

from backlog_store.access import Scope
from backlog_store.cli.app import App, pass_app
from backlog_store.cli.asking import instant_of
from backlog_store.cli.command import group
from backlog_store.cli.items import json_text
from backlog_store.cli.options import json_option, message_option, not_empty
from backlog_store.cli.text import neutral, table
from backlog_store.codec import to_builtins
from backlog_store.commands import RemoveWebhook, SetWebhook
from backlog_store.errors import ConfigError
from backlog_store.hooks import Aside, Attempt, Webhook
from backlog_store.webhooks.outlets import Outlets, Refused, outlets_from
from backlog_store.webhooks.subscribing import WAITING_MAX, as_it_is, kept_aside, pinged, standing, subscribe, tries
from backlog_store.webhooks.subscribing import replay as replay_events

__all__ = ["outlets_of", "webhook"]


@group("webhook")
def webhook() -> None:
    """
    Webhooks: tell other services of changes. See docs/guides/webhooks.md.
    """


@webhook.command("add", examples=("backlog webhook add chat https://hooks.example.org/backlog --type created",
                                  "backlog webhook add pager https://pager.example.org/ -q P0"))  # fmt: skip
@click.argument("name", callback=not_empty)
@click.argument("url", callback=not_empty)
@click.option("--type", "types", multiple=True, metavar="TYPE",
              help="Events of this type alone, such as created or closed. May be given several times.")  # fmt: skip
@click.option("-q", "--query", default="", metavar="QUERY", help="Events of items alone that match this query.")
@click.option("--env", "envs", multiple=True, help="Events of this env alone. May be given several times.")
@click.option("--service", "services", multiple=True, help="Of this service alone. May be given several times.")
@message_option
@json_option
@pass_app
def add(app: App, name: str, url: str, types: tuple[str, ...], query: str, envs: tuple[str, ...],
        services: tuple[str, ...], message: str, as_json: bool) -> None:  # fmt: skip
    """
    Send every change from now on to an address, and print the secret that its signatures are made with: this once.
    """
    bound = Scope(role="reader", envs=envs or None, services=services or None) if envs or services else None
    body = SetWebhook(name=name, url=url, over=0, types=types or None, query=query, scope=bound, message=message)
    secret = subscribe(app.writing(), body, outlets_of(app))
    if as_json:
        app.out(json_text(app, {"name": name, "url": url, "secret": secret}))
        return
    app.out(secret)
    app.say(f"This is shown once: the receiver holds signatures against it. Try it: `backlog webhook test {name}`")


@webhook.command("list", examples=("backlog webhook list", "backlog webhook list --json"))
@json_option
@pass_app
def list_(app: App, as_json: bool) -> None:
    """
    List webhooks: where they go, what of, how far each has come, and what it met.
    """
    rows = standing(app.reading())
    if as_json:
        app.out(json_text(app, rows))
        return
    if not rows:
        app.say("No webhook is there. `backlog webhook add NAME URL` makes one.")
        return
    cells = [[row["name"], row["url"], row["of"], row["state"], _more(row["waiting"]), str(row["kept"]),
              str(row["delivered"])] for row in rows]  # fmt: skip
    head = ("name", "goes to", "of", "state", "waiting", "kept aside", "delivered")
    app.show(table([[neutral(cell) for cell in row] for row in cells], head=head, room=app.room, color=app.colored))


@webhook.command("test", examples=("backlog webhook test chat",))
@click.argument("name", callback=not_empty)
@pass_app
def test(app: App, name: str) -> None:
    """
    Send a signed `backlog.ping` from here, now, and say what the receiver answered.
    """
    outlets = _outlets(app)
    try:
        status = pinged(app.reading(), name, outlets)
    except (Refused, OSError) as error:
        raise click.ClickException(f"nothing was delivered: {error}") from error
    if not 200 <= status < 300:
        raise click.ClickException(f"the receiver answered {status}; 200 to 299 would be taken as delivered.")
    app.out(f"delivered  {status}")


@webhook.command("log", examples=("backlog webhook log chat", "backlog webhook log chat --kept"))
@click.argument("name", callback=not_empty)
@click.option("--kept", is_flag=True, help="What is kept aside instead: to be tried again, and dead letters.")
@json_option
@pass_app
def log(app: App, name: str, kept: bool, as_json: bool) -> None:
    """
    Show the last 200 tries, newest first, and what the receiver said.
    """
    found: Sequence[Aside | Attempt]
    if kept:
        found = told = kept_aside(app.reading(), name)
        rows = [[one.at[:19].replace("T", " "), one.type, one.item_id, str(one.attempts),
                 "dead letter" if one.is_dead else f"again {one.next_at[:19].replace('T', ' ')}", one.error]
                for one in told]  # fmt: skip
        head = ("last try", "event", "item", "tries", "state", "why")
    else:
        found = tried = tries(app.reading(), name)
        rows = [[one.at[:19].replace("T", " "), one.outcome, one.type, one.item_id, f"{one.took_ms} ms", one.error]
                for one in tried]  # fmt: skip
        head = ("at", "outcome", "event", "item", "took", "why")
    if as_json:
        app.out(json_text(app, [to_builtins(one) for one in found]))
    elif not rows:
        app.say("Nothing is kept aside." if kept else "Nothing was sent yet.")
    else:
        app.show(table([[neutral(cell) for cell in row] for row in rows], head=head, room=app.room, color=app.colored))


@webhook.command("replay", examples=("backlog webhook replay chat", "backlog webhook replay chat --since 2d"))
@click.argument("name", callback=not_empty)
@click.option("--since", default="", metavar="WHEN", help="All events since then, again; `all` is from the beginning.")
@message_option
@json_option
@pass_app
def replay(app: App, name: str, since: str, message: str, as_json: bool) -> None:
    """
    Deliver again what was kept aside, dead letters too, now; or with --since every event since then.
    """
    then = since if since in ("", "all") else instant_of(app, since, "--since")
    after, answer = replay_events(app.writing(), name, then, message=message)
    what = "every event since then" if since else answer.outcomes[0].why
    app.out(json_text(app, {"name": name, "after": after}) if as_json else f"replays  {name}: {what}")


@webhook.command("pause", examples=("backlog webhook pause chat -m 'they move'",))
@click.argument("name", callback=not_empty)
@message_option
@pass_app
def pause(app: App, name: str, message: str) -> None:
    """
    Send nothing for now; nothing is lost, it goes on with `resume`.
    """
    _switch(app, name, "paused", message)


@webhook.command("resume", examples=("backlog webhook resume chat",))
@click.argument("name", callback=not_empty)
@message_option
@pass_app
def resume(app: App, name: str, message: str) -> None:
    """
    Go on where it was paused, or where it stopped by itself.
    """
    _switch(app, name, "", message)


@webhook.command("remove", examples=("backlog webhook remove chat",))
@click.argument("name", callback=not_empty)
@message_option
@pass_app
def remove(app: App, name: str, message: str) -> None:
    """
    Send nothing there any more, and forget what was kept aside.
    """
    app.reading()
    app.writing().execute(RemoveWebhook(name=name, message=message))
    app.out(f"removed  {name}")


@webhook.command("deliver", examples=("backlog webhook deliver --once",))
@click.option("--once", is_flag=True, help="Deliver what is due now, and end.")
@json_option
@pass_app
def deliver(app: App, once: bool, as_json: bool) -> None:
    """
    Deliver what is due, as `backlog serve` does it beside serving; one process at a time does.
    """
    from backlog_store.webhooks.running import deliverer

    found = deliverer(app.writing(), _outlets(app))
    if not once:
        app.say("Delivering (stop with Ctrl-C)")
        found.run(threading.Event())
        return
    try:
        sent = found.once()
    finally:
        found.release()
    if not sent.is_ours:
        raise click.ClickException("another process delivers; its lease ends half a minute after it does.")
    told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(sent.outcomes.items())) or "nothing was due"
    app.out(json_text(app, sent.outcomes) if as_json else told)


def outlets_of(app: App) -> Outlets:
    """
    Return where the settings let webhooks go.
    """
    return outlets_from(app.settings.get("webhook_hosts"), app.settings.get("webhook_networks"))


def _outlets(app: App) -> Outlets:
    found = outlets_of(app)
    if not found.hosts:
        raise ConfigError("webhook_hosts", "", "no host is named that webhooks may go to",
                          hint="BACKLOG_WEBHOOK_HOSTS=hooks.example.org, or `backlog config set`.")  # fmt: skip
    return found


def _named(app: App, name: str) -> tuple[int, Webhook]:
    from backlog_store.rules.hooking import webhook_named

    return app.reading().read(lambda reader: webhook_named(reader, name))


def _switch(app: App, name: str, off: str, message: str) -> None:
    revision, old = _named(app, name)
    app.writing().execute(replace(as_it_is(old, revision), off=off, message=message))
    app.out(f"{off or 'goes on'}  {name}")


def _more(waiting: int) -> str:
    return f"{waiting:,} or more" if waiting >= WAITING_MAX else str(waiting)
