"""
The file that says how people sign in by OIDC, and the secret that goes with it and stands in no such file.
"""

from __future__ import annotations

from pathlib import Path

from backlog_store.cli.app import App
from backlog_store.cli.textfile import text_of
from backlog_store.errors import ConfigError
from backlog_store.policy.loading import format_of
from backlog_store.web.oidc.config import FILE_MAX, OidcSetup, load_config

__all__ = ["setup_of"]

_SECRET_MAX = 4_096


def setup_of(app: App, file: Path | None) -> OidcSetup | None:
    """
    Return how people sign in by OIDC: as *file* says, else that of the setting; ``None`` where there is neither.

    Raises `ConfigError` for what cannot be read or has no secret, `InvalidInput` with every fault of the file.
    """
    path = file or (Path(named) if (named := app.settings.get("oidc")) else None)
    if path is None:
        return None
    config = load_config(text_of(path, FILE_MAX, setting="oidc"), is_toml=format_of(path.name) == "toml")
    secret = app.settings.get("oidc_client_secret")
    if not secret and config.client_secret_file:
        secret = text_of(path.parent / config.client_secret_file, _SECRET_MAX, setting="client_secret_file")
        secret = secret.strip("\r\n")
    if not secret:
        raise ConfigError("oidc_client_secret", "", "the provider wants a secret of this service",
                          hint="Set BACKLOG_OIDC_CLIENT_SECRET, or `client_secret_file` in the file.")  # fmt: skip
    return OidcSetup(config, secret)
