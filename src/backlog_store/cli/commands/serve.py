"""
`backlog serve`.
"""

from __future__ import annotations

import click

from backlog_store.cli.app import App, pass_app
from backlog_store.cli.command import command
from backlog_store.errors import ConfigError

__all__ = ["serve"]


@command("serve", examples=("backlog serve", "backlog serve --port 9000 --store postgresql://db/backlog"))
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="The address to bind.")
@click.option("--port", default=8420, show_default=True, type=click.IntRange(1, 65_535), help="The port to bind.")
@click.option("--log", is_flag=True, help="Write a line for each request to stderr.")
@pass_app
def serve(app: App, host: str, port: int, log: bool) -> None:
    """
    Serve the pages and the HTTP API of this backlog, to this machine alone, until it is told to stop.

    On the loopback address nobody signs in: whoever asks is you.
    """
    try:
        from backlog_store.web import serving
    except ImportError as error:
        hint = "pip install 'backlog-store[server]'"
        raise ConfigError("serve", "", f"the service needs packages that are not installed ({error.name})",
                          hint=hint) from error  # fmt: skip
    backlog = app.writing()
    app.say(f"Serving http://{host}:{port}/ and the API at /api/v1 (stop with Ctrl-C)")
    serving.serve(backlog, host=host, port=port, log=("requests",) if log else ())
