"""
`backlog serve`.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backlog_store.backlog import Backlog
from backlog_store.cli.app import App, pass_app
from backlog_store.cli.command import Choice, command
from backlog_store.cli.options import not_empty
from backlog_store.errors import ConfigError

if TYPE_CHECKING:
    from backlog_store.web.logs import Form

__all__ = ["serve"]


@command("serve", examples=("backlog serve", "backlog serve --port 9000 --store postgresql://db/backlog"))
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="The address to bind.")
@click.option("--port", default=8420, show_default=True, type=click.IntRange(1, 65_535), help="The port to bind.")
@click.option("--sign-in", "everybody", is_flag=True, help="Everybody signs in: programs by token, people by password.")
@click.option("--name", "names", multiple=True, metavar="HOST",
              help="A name it is reached by; others are refused. May be given several times.")  # fmt: skip
@click.option("--trusted-proxy", "proxies", multiple=True, metavar="ADDRESS",
              help="The address of a proxy that is believed: that it encrypts, and whom it names.")  # fmt: skip
@click.option("--proxy-header", default="", metavar="HEADER", callback=not_empty,
              help="The header in which that proxy names who asks, such as X-Forwarded-User.")  # fmt: skip
@click.option("--oidc", "oidc_file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="With --sign-in: people sign in by OpenID Connect, as this file says.")  # fmt: skip
@click.option("--rate", default=200, show_default=True, type=click.IntRange(min=0), metavar="N",
              help="With --sign-in: requests a second of one token or person; 0 is no bound.")  # fmt: skip
@click.option("--log", is_flag=True, help="Write a line for each request to stderr.")
@click.option("--log-format", type=Choice(["text", "json"]), default="text", show_default=True,
              help="How lines of the log look; each carries the id of its request.")  # fmt: skip
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), metavar="COUNT",
              help="Processes that serve the port together; SIGHUP replaces them one by one.")  # fmt: skip
@click.option("--drain", "drain_s", default=0.0, show_default=True, type=click.FloatRange(0, 600), metavar="SECONDS",
              help="On SIGTERM, say so at /readyz for so long, and only then stop: balancers look there.")  # fmt: skip
@pass_app
def serve(app: App, host: str, port: int, everybody: bool, names: tuple[str, ...], proxies: tuple[str, ...],
          proxy_header: str, oidc_file: Path | None, rate: int, log: bool, log_format: Form, workers: int,
          drain_s: float) -> None:  # fmt: skip
    """
    Serve the pages and the HTTP API of this backlog until it is told to stop.

    On the loopback address nobody has to sign in: whoever asks is you. An address that others reach needs --sign-in,
    and somebody who may sign in: `backlog person add NAME --role admin`.
    """
    try:
        from backlog_store.cli.commands.webhook import outlets_of
        from backlog_store.cli.oidcfile import setup_of
        from backlog_store.web import serving
    except ImportError as error:
        hint = "pip install 'backlog-store[server]'"
        raise ConfigError("serve", "", f"the service needs packages that are not installed ({error.name})",
                          hint=hint) from error  # fmt: skip
    proxy = serving.Proxy(addresses=proxies, header=proxy_header) if proxies or proxy_header else None
    oidc = setup_of(app, oidc_file) if everybody or oidc_file else None
    running = serving.Running(host=host, port=port, everybody=everybody, names=names, proxy=proxy, rate=rate,
                              requests=log, log=log_format, workers=workers, drain_s=drain_s,
                              oidc=oidc, outlets=outlets_of(app))  # fmt: skip
    app.quiet = log_format == "json"  # each line is JSON then
    backlog = app.writing()
    serving.sign_in_for(backlog, host=host, port=port, everybody=everybody, names=names, proxy=proxy, oidc=oidc)
    if not app.quiet:
        app.say(f"Serving http://{host}:{port}/ and the API at /api/v1 (stop with Ctrl-C)")
    app.quiet = True  # that a copy is read is said in each answer, and the outage stands in the log
    serving.serve(backlog, running, reopen=partial(_reopen, dict(app.flags)))


def _reopen(flags: dict[str, str]) -> Backlog:
    """
    Open the store in the process of a worker, as this command did in its own.
    """
    app = App()
    app.flags = flags
    app.quiet = True
    return app.writing()
