"""
`backlog serve --oidc` and what goes with it: the file, the secret, and what is said of a wrong one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backlog_store.cli.app import App
from backlog_store.cli.oidcfile import setup_of
from backlog_store.errors import ConfigError
from tests.cli.conftest import Cli

FILE = """
issuer = "https://id.example"
client_id = "backlog"
public_url = "https://backlog.example"
client_secret_file = "secret"
groups = [{group = "sre", role = "admin"}]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """
    Return a sound file, whose secret lies beside it.
    """
    (tmp_path / "secret").write_text("from the file\n", encoding="utf-8")
    path = tmp_path / "oidc.toml"
    path.write_text(FILE, encoding="utf-8")
    return path


def test_the_secret_is_in_the_environment_or_in_a_file_beside(
    file: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Without its line's end; the variable wins, and without either nothing starts.
    """

    def secret() -> Any:
        setup = setup_of(App(), file)
        assert setup is not None
        return setup.secret

    assert secret() == "from the file"
    (file.parent / "secret").write_text("from an editor\r\n", encoding="utf-8-sig")
    assert secret() == "from an editor"
    monkeypatch.setenv("BACKLOG_OIDC_CLIENT_SECRET", "from the variable")
    assert secret() == "from the variable"
    monkeypatch.delenv("BACKLOG_OIDC_CLIENT_SECRET")
    (file.parent / "secret").write_text("\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="BACKLOG_OIDC_CLIENT_SECRET"):
        secret()
    (file.parent / "secret").unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        secret()


def test_the_setting_names_the_file_too(file: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    In the environment, or in the project's file, which says it relative to itself; the option wins.
    """
    assert setup_of(App(), None) is None
    monkeypatch.setenv("BACKLOG_OIDC", str(file))
    found = setup_of(App(), None)
    assert found is not None
    assert found.config.redirect_uri == "https://backlog.example/sign-in/oidc/callback"


def test_a_secret_is_never_shown(file: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    `config` says that it is there, in whatever form it is asked, and files cannot hold it.
    """
    monkeypatch.setenv("BACKLOG_OIDC_CLIENT_SECRET", "hush hush")
    monkeypatch.setenv("BACKLOG_TOKEN", "hush hush")
    for args in (["config", "list"], ["config", "list", "--json"], ["config", "get", "oidc_client_secret"],
                 ["config", "get", "token"], ["doctor"]):  # fmt: skip
        output = cli(*args, expect=None).output
        assert "hush" not in output
        assert "***" in output or args == ["doctor"]
    assert "hush" not in cli("config", "set", "oidc_client_secret", "hush", expect=2).output


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda text: text.replace("client_id", "clientid"), "line 3"),
        (lambda text: text.replace('"admin"', '"owner"'), "owner"),
        (lambda text: "[", "is not TOML"),
        (lambda text: "", "lacks issuer and client_id and public_url and groups"),
        (lambda text: "x = 1\n" * 100_000, "characters"),
    ],
)
def test_a_wrong_file_is_told_with_its_place(file: Path, cli: Cli, change: Callable[[str], str], told: str) -> None:
    """
    Nothing is served; what is wrong is said, where, and in which guide to look.
    """
    file.write_text(change(FILE), encoding="utf-8")
    output = cli("serve", "--sign-in", "--oidc", str(file), expect=2).output
    assert told in output


def test_oidc_is_for_a_service_where_people_sign_in(file: Path, cli: Cli) -> None:
    """
    Without --sign-in it would be a promise that nothing keeps.
    """
    assert "--sign-in" in cli("serve", "--oidc", str(file), expect=2).output
    assert "no such" in cli("serve", "--sign-in", "--oidc", "nowhere.toml", expect=2).output.lower()


def test_a_person_is_said_to_be_a_subject(cli: Cli) -> None:
    """
    By `--subject`, when they are added and later; the list says how each signs in.
    """
    cli("person", "add", "ann", "--role", "admin", "--subject", "https://id.example 1")
    cli("person", "add", "ben", "--role", "reader", "--by-proxy")
    listed = {one["name"]: one["subject"] for one in cli.json("person", "list")}
    assert listed == {"ann": "https://id.example 1", "ben": ""}
    assert "by OIDC" in cli("person", "list").output
    cli("person", "edit", "ben", "--subject", "https://id.example 1", expect=5)
    cli("person", "edit", "ben", "--subject", "nobody", expect=2)
    cli("person", "edit", "ben", "--subject", "https://id.example 2")
    cli("person", "edit", "ben", expect=2)
    cli("person", "add", "cid", "--role", "reader", "--by-proxy", "--subject", "https://id.example 3", expect=2)
    assert [one["scope"]["role"] for one in cli.json("person", "list")] == ["admin", "reader"]
