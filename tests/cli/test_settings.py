"""
Settings: what wins, where the store is, misspelt names, secrets.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from backlog_store.backends.registry import open_backend
from backlog_store.errors import ConfigError
from backlog_store.redacting import redacted
from backlog_store.settings import SETTINGS, Settings, load_settings, store_path
from tests.cli.conftest import Cli


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """
    A folder for the user's files.
    """
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    (tmp_path / "config" / "backlog").mkdir(parents=True)
    (tmp_path / "project" / "deep").mkdir(parents=True)
    return tmp_path


def load(home: Path, *, env: dict[str, str] | None = None, flags: dict[str, str] | None = None) -> Settings:
    """
    Load settings in a folder inside of the project.
    """
    return load_settings(flags or {}, env or {}, home / "project" / "deep")


def test_flag_environment_project_user_default(home: Path) -> None:
    """
    Each layer wins over the ones below it, and the origin says which did.
    """
    found = [load(home).found["limit"]]
    (home / "config" / "backlog" / "config.toml").write_text("limit = 1\n", encoding="utf-8")
    found.append(load(home).found["limit"])
    (home / "project" / "pyproject.toml").write_text("[tool.backlog]\nlimit = 2\n", encoding="utf-8")
    found.append(load(home).found["limit"])
    (home / "project" / "backlog.toml").write_text('limit = "3"\n', encoding="utf-8")
    found.append(load(home).found["limit"])
    found.append(load(home, env={"BACKLOG_LIMIT": "4"}).found["limit"])
    found.append(load(home, env={"BACKLOG_LIMIT": "4"}, flags={"limit": "5"}).found["limit"])

    assert [one.value for one in found] == ["50", "1", "2", "3", "4", "5"]
    assert [Path(one.origin).name for one in found] == [
        "default", "config.toml", "pyproject.toml", "backlog.toml", "BACKLOG_LIMIT", "flag"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///backlog.db", "project/backlog.db"),
        ("sqlite:ops/backlog.db", "project/ops/backlog.db"),
        ("jsonl:ops/backlog", "project/ops/backlog"),
        ("ops/backlog", "project/ops/backlog"),
        ("sqlite:///srv/x/backlog.db", "/srv/x/backlog.db"),
    ],
)
def test_paths_in_a_file_are_relative_to_it(home: Path, url: str, path: str) -> None:
    """
    The same project file means the same store in every folder of the project.
    """
    (home / "project" / "backlog.toml").write_text(f'url = "{url}"\n', encoding="utf-8")

    assert store_path(load(home).store().value) == home / path


@pytest.mark.parametrize(
    "url", ["sqlite:///one.db", "sqlite:two.db", "jsonl:a b/three", "sqlite:a%20b/four.db", "five.db", "six/folder"]
)
def test_a_store_is_looked_for_where_it_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """
    The path that the command line checks is the one that the registry makes.
    """
    monkeypatch.chdir(tmp_path)
    path = store_path(url)
    assert path is not None
    assert not path.exists()
    open_backend(url).close()
    assert path.exists()


@pytest.mark.parametrize(
    ("env", "url"),
    [
        ({"BACKLOG_BACKEND": "postgres"}, "postgresql://localhost/daarion"),
        ({"BACKLOG_BACKEND": "postgres", "POSTGRES_DSN": "host=a"}, "host=a"),
        ({"BACKLOG_BACKEND": "auto", "BACKLOG_POSTGRES_DSN": "host=b", "POSTGRES_DSN": "host=a"}, "auto+host=b"),
        ({"BACKLOG_BACKEND": "auto"}, "jsonl:ops/backlog/items.jsonl.journal"),
        ({"BACKLOG_BACKEND": "jsonl"}, "jsonl:ops/backlog/items.jsonl.journal"),
        ({"BACKLOG_BACKEND": "memory"}, "memory://"),
        ({"BACKLOG_BACKEND": "null"}, "null://"),
        ({"BACKLOG_BACKEND": "null", "BACKLOG_URL": "sqlite:x.db"}, "sqlite:x.db"),
    ],
)
def test_the_original_variables_choose_the_store(home: Path, env: dict[str, str], url: str) -> None:
    """
    BACKLOG_BACKEND and the DSN variables mean what they meant; BACKLOG_URL wins over them.
    """
    assert url == load(home, env=env).store().value


@pytest.mark.parametrize(
    ("env", "told"),
    [
        ({"BACKLOG_ULR": "x"}, "Did you mean BACKLOG_URL?"),
        ({"BACKLOG_BACKEND": "postgress"}, "Did you mean 'postgres'?"),
        ({"BACKLOG_ACTOR_KIND": "human"}, "One of person, machine"),
        ({"BACKLOG_LIMIT": "many"}, "not of that form"),
        ({"BACKLOG_DUE": "P1=x"}, "P0=2,P1=14"),
    ],
)
def test_misspelt_variables_are_errors(home: Path, env: dict[str, str], told: str) -> None:
    """
    A misspelt name or value is refused with what was probably meant.
    """
    with pytest.raises(ConfigError, match="BACKLOG_") as caught:
        load(home, env=env)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    "text", ["lmit = 1\n", "limit = true\n", "limit = [\n", "limit = 'x'\n", "\xff", "actor = {}\n"]
)
def test_faulty_files_are_errors_that_name_them(home: Path, text: str) -> None:
    """
    A file with an unknown key, a wrong type or no TOML at all is named.
    """
    file = home / "project" / "backlog.toml"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"backlog\.toml"):
        load(home)


@pytest.mark.parametrize(
    "text",
    ["postgresql://u:geheim@h/db", "postgresql://u:ge@heim@h/db?x=1", "host=h password=geheim user=u",
     "host=h password='ge heim' user=u", "postgresql://h/db?password=geheim&x=1", "PASSWORD = geheim",
     "see postgresql://u:geheim@h/db, please"],
)  # fmt: skip
def test_passwords_are_not_shown(text: str) -> None:
    """
    Whatever the form of the URL, the password is replaced, and the rest can still be recognised.
    """
    assert "heim" not in redacted(text)
    assert redacted("postgresql://h:5432/db?x=1") == "postgresql://h:5432/db?x=1"


def test_no_output_shows_the_password(cli: Cli) -> None:
    """
    Errors, settings and the doctor hide it; on the command line and in files it is refused.
    """
    cli.env["BACKLOG_URL"] = "postgresql://u:geheim@127.0.0.1:1/db"
    for args in (["list"], ["doctor"], ["doctor", "--json"], ["config", "list"], ["config", "get", "url"],
                 ["list", "--json"], ["list", "--debug"], ["migrate", "--in-place"]):  # fmt: skip
        told = output_of(cli, *args)
        assert "geheim" not in told
        assert "***" in told or "127.0.0.1" in told
    cli.env["BACKLOG_URL"] = None
    for args in (["list", "--store"], ["config", "set", "url"], ["migrate", "--to"], ["init", "--store"]):
        result = cli(*args, "postgresql://u:geheim@h/db", expect=2)
        assert "geheim" not in result.output
        assert "BACKLOG_URL" in result.stderr


def output_of(cli: Cli, *args: str) -> str:
    """
    Return all that a command prints, whatever its exit code; a traceback is welcome with --debug.
    """
    from click.testing import CliRunner

    from backlog_store.cli.main import cli as root

    return CliRunner(env=cli.env).invoke(root, list(args)).output


def test_settings_are_written_and_removed(cli: Cli) -> None:
    """
    `config set` changes one line of the file and leaves the others; an empty value removes it.
    """
    file = cli.folder / "backlog.toml"
    file.write_text("# ours\nactor = 'bo' # why\n", encoding="utf-8")
    cli("config", "set", "--project", "limit", "7")
    cli("config", "set", "--project", "actor", 'q"uote\\')
    assert file.read_text(encoding="utf-8") == '# ours\nactor = "q\\"uote\\\\"\nlimit = "7"\n'
    assert cli("config", "get", "limit").stdout == "7\n"
    assert "wins" in cli("config", "set", "limit", "8").stderr

    cli("config", "set", "--project", "limit", "")
    assert cli("config", "get", "limit").stdout == "8\n"
    assert "Did you mean limit?" in cli("config", "set", "limt", "8", expect=2).stderr
    cli("config", "set", "limit", "x", expect=2)


def test_every_setting_is_listed_with_its_origin(cli: Cli) -> None:
    """
    `config list` names all settings and where each came from.
    """
    cli("init")
    listed = {row["key"]: row for row in cli.json("config", "list")}

    assert set(listed) == {setting.key for setting in SETTINGS}
    assert listed["actor"] == {"key": "actor", "value": "ana", "origin": "BACKLOG_ACTOR"}
    assert listed["url"]["origin"] == f"found in {cli.folder}"


def test_init_makes_a_backlog_that_is_found_from_below(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The store of a project is used in all its folders, kept out of git, and made once.
    """
    cli("init")
    id = cli.add("one")
    (cli.folder / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(cli.folder / "a" / "b")

    assert cli.ids() == [id]
    assert (cli.folder / ".backlog" / ".gitignore").read_text(encoding="utf-8").endswith("*\n")
    monkeypatch.chdir(cli.folder)
    assert "already" in cli("init").stdout


def test_init_keeps_a_url_for_the_project(cli: Cli) -> None:
    """
    With --store the URL goes to backlog.toml, and the store is there.
    """
    cli("init", "--store", "jsonl:ops/backlog")
    cli.add("one")

    assert (cli.folder / "backlog.toml").read_text(encoding="utf-8") == 'url = "jsonl:ops/backlog"\n'
    assert (cli.folder / "ops" / "backlog").is_dir()
    assert len(cli.ids()) == 1


def test_a_named_store_that_is_not_there_is_an_error(cli: Cli) -> None:
    """
    Reading a misspelt path is no empty backlog, and makes nothing.
    """
    result = cli("list", "--store", "sqlite:nosuch.db", expect=6)

    assert "there is no backlog at nosuch.db" in result.stderr
    assert not (cli.folder / "nosuch.db").exists()


@pytest.mark.parametrize(
    "url", ["foo://x", "sqllite:x.db", "auto", "jsonl", "memory://x", "sqlite:", "sqlite:x.db?nope=1"]
)
@pytest.mark.parametrize("where", [(), ("--project",)])
def test_a_url_that_opens_nothing_is_not_kept(cli: Cli, tmp_path: Path, url: str, where: tuple[str, ...]) -> None:
    """
    What every command would refuse afterwards is refused before it is written.
    """
    cli("config", "set", *where, "url", url, expect=2)

    assert not (cli.folder / "backlog.toml").exists()
    assert not (tmp_path / "config").exists()


@pytest.mark.parametrize("text", ["lmit = 1\n", "limit = 'x'\n", "url = 'foo://x'\n", "limit = {}\n"])
def test_faulty_settings_can_be_seen_and_mended(cli: Cli, text: str) -> None:
    """
    With a fault in a file `config list` shows all the same, and says what is wrong; `set` and `unset` mend it.
    """
    file = cli.folder / "backlog.toml"
    file.write_text(text + 'env = "test"\n', encoding="utf-8")
    key = text.split(maxsplit=1)[0]
    told = cli("config", "list", "--json", expect=2)
    assert {"key": "env", "value": "test", "origin": str(file)} in msgspec.json.decode(told.stdout)
    assert msgspec.json.decode(told.stderr)["error"]["code"] == "config_error"
    assert "backlog.toml" in cli("config", "list", expect=2).output
    cli("list", expect=2)
    assert str(file) in cli("config", "path").stdout

    cli("config", "set", "--project", "service", "shop")
    cli("config", "unset", "--project", key)
    assert file.read_text(encoding="utf-8") == 'env = "test"\nservice = "shop"\n'
    cli("list")
    assert "Did you mean limit?" in cli("config", "unset", "lmit", expect=2).stderr


def test_a_wrong_variable_does_not_stop_the_mending_of_files(cli: Cli) -> None:
    """
    The settings are listed, and written, while the environment holds a fault; it is told each time.
    """
    cli.env["BACKLOG_LIMTI"] = "3"

    assert "BACKLOG_LIMTI" in cli("config", "list", expect=2).stderr
    assert "Did you mean BACKLOG_LIMIT?" in cli("config", "set", "limit", "4").stderr
    cli.env["BACKLOG_LIMTI"] = None
    assert cli("config", "get", "limit").stdout == "4\n"


def test_a_name_that_is_like_no_setting_gets_the_whole_list(cli: Cli) -> None:
    """
    What all variables begin with makes no two of them alike.
    """
    cli.env["BACKLOG_PROIRITY"] = "P0"
    told = cli("list", expect=2).stderr

    assert "Did you mean" not in told
    assert "BACKLOG_DUE" in told


def test_a_misspelt_setting_has_no_value_to_show(cli: Cli) -> None:
    """
    The refusal names the setting, not a value that nobody gave.
    """
    assert "error: urll: there is no setting 'urll'." in cli("config", "set", "urll", "x", expect=2).stderr


def test_settings_in_pyproject_are_not_hidden(cli: Cli) -> None:
    """
    A backlog.toml beside them would put them all out of force: it is not made.
    """
    (cli.folder / "pyproject.toml").write_text("[tool.backlog]\nlimit = 7\n", encoding="utf-8")

    assert "pyproject.toml" in cli("config", "set", "--project", "env", "x", expect=2).stderr
    assert cli("config", "get", "limit").stdout == "7\n"


def test_the_nearer_store_wins(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Flag, environment, the project's store or file (the nearer one), the user's file.
    """

    def store() -> str:
        return cli("config", "get", "url").stdout.strip()

    def made(folder: Path) -> str:
        return f"sqlite://{folder / '.backlog' / 'backlog.db'}"

    cli("config", "set", "url", "sqlite:/srv/user.db")
    assert store() == "sqlite:/srv/user.db"
    assert "wins" not in cli("init").stderr
    assert store() == made(cli.folder)
    assert f"(found in {cli.folder}) wins" in cli("config", "set", "url", "sqlite:/srv/user2.db").stderr

    cli("config", "set", "--project", "url", "sqlite:/srv/shared.db")
    assert store() == "sqlite:/srv/shared.db"
    assert "sqlite:/srv/shared.db" in cli("init").stderr
    inner = cli.folder / "inner"
    inner.mkdir()
    monkeypatch.chdir(inner)
    assert "wins" not in cli("init").stderr
    assert store() == made(inner)
    cli.env["BACKLOG_BACKEND"] = "memory"
    assert store() == "memory://"
    cli.env["BACKLOG_URL"] = "null://"
    assert store() == "null://"
    assert cli("config", "get", "url", "--store", "sqlite:x.db").stdout == "sqlite:x.db\n"


@pytest.mark.parametrize("name", ["auto", "postgres", "postgresql", "sqlite", "jsonl", "memory", "null", "Auto"])
@pytest.mark.parametrize("command", ["list", "init", "add"])
def test_the_name_of_a_backend_is_no_path(cli: Cli, name: str, command: str) -> None:
    """
    A name alone is explained, and no folder is made of it, not even from the project's file.
    """
    args = [command, "x"] if command == "add" else [command]
    told = cli("--store", name, *args, expect=2).stderr
    assert "postgresql://" in told
    (cli.folder / "backlog.toml").write_text(f'url = "{name}"\n', encoding="utf-8")
    if command != "init":
        assert cli(*args, expect=2).stderr == told
    assert [file.name for file in cli.folder.iterdir()] == ["backlog.toml"]


def test_a_file_of_settings_that_cannot_be_written_is_told(cli: Cli, tmp_path: Path) -> None:
    """
    Where the folder of settings is no folder, the refusal names the file.
    """
    (tmp_path / "config").write_text("", encoding="utf-8")

    assert "config.toml" in cli("config", "set", "limit", "3", expect=2).stderr


def test_a_url_of_the_user_means_the_same_everywhere(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A relative path is meant from where it was typed, and kept whole: the user's file lies elsewhere.
    """
    cli("config", "set", "url", "sqlite:x.db?busy_timeout_s=1")
    (cli.folder / "deep").mkdir()
    monkeypatch.chdir(cli.folder / "deep")

    assert cli("config", "get", "url").stdout == f"sqlite://{cli.folder}/x.db?busy_timeout_s=1\n"


def test_a_user_without_a_home_is_told_what_to_set(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where the system knows no home folder, the refusal names the variables.
    """

    def unknown() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(Path, "home", unknown)
    with pytest.raises(ConfigError, match="Set it, or XDG_CONFIG_HOME"):
        load(home)


def test_values_over_several_lines_are_changed_as_a_whole(cli: Cli) -> None:
    """
    A list that somebody wrote a line an entry is replaced and removed with all its lines.
    """
    file = cli.folder / "backlog.toml"
    file.write_text('env = "a"\ncolumns = [\n  "id",  # short\n  "title",\n]\nlimit = 3\n', encoding="utf-8")
    cli("config", "set", "--project", "columns", "id,owner")
    assert file.read_text(encoding="utf-8") == 'env = "a"\ncolumns = "id,owner"\nlimit = 3\n'
    file.write_text('env = """\na"""\nlimit = 3\n', encoding="utf-8")
    cli("config", "unset", "--project", "env")
    assert file.read_text(encoding="utf-8") == "limit = 3\n"


def test_a_linked_file_of_settings_stays_a_link(cli: Cli) -> None:
    """
    Who keeps settings elsewhere finds them changed there.
    """
    (cli.folder / "kept.toml").touch()
    (cli.folder / "backlog.toml").symlink_to("kept.toml")
    cli("config", "set", "--project", "limit", "3")

    assert (cli.folder / "backlog.toml").is_symlink()
    assert (cli.folder / "kept.toml").read_text(encoding="utf-8") == 'limit = "3"\n'


@pytest.mark.parametrize(
    ("key", "value"),
    [("due", "P0=99999"), ("actor", "x" * 201), ("env", "x" * 101), ("service", "x" * 201), ("columns", "id,nope")],
)
def test_a_value_that_every_command_would_refuse_is_not_kept(cli: Cli, key: str, value: str) -> None:
    """
    Over-long names, days without end and unknown columns are refused when they are set.
    """
    cli("config", "set", "--project", key, value, expect=2)
    assert list(cli.folder.iterdir()) == []
