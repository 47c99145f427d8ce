"""
Where a store of files may lie, and with what rights it lies there.
"""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from backlog_store.backends.jsonl import open_jsonl
from backlog_store.backends.places import NETWORK_FILE_SYSTEMS, file_system_of, prepare_folder
from backlog_store.backends.port import PutRecord
from backlog_store.errors import BackendUnavailable, ConfigError
from backlog_store.testing.conformance.base import apply
from backlog_store.testing.contents import contents
from backlog_store.testing.samples import a_record

MOUNTS = r"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /srv rw - nfs4 server:/export rw,vers=4.2
31 30 8:2 / /srv/local rw master:1 - xfs /dev/sdb1 rw
32 22 0:41 / /mnt/a\040b rw - cifs //server/share rw
33 22 8:3 / /data rw - ext4 /dev/sdc1 rw
34 22 0:42 / /data rw - fuse.sshfs host:/data rw
"""


def mode(path: Path) -> int:
    """
    Return the permission bits of a path.
    """
    return stat.S_IMODE(path.stat().st_mode)


def test_a_store_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Folders that the store makes are 0700 and its files 0600, after compaction and for what is set aside too."""
    folder = tmp_path / "ops" / "backlog"
    store = open_jsonl(folder)
    apply(store, PutRecord(a_record("r")))
    with (folder / "journal.jsonl").open("ab") as file:
        file.write(b"torn")
    apply(store, PutRecord(a_record("s")))
    store.compact()
    found = {path.relative_to(tmp_path).as_posix(): mode(path) for path in tmp_path.rglob("*")}
    assert {0o700} == {found["ops"], found["ops/backlog"], found["ops/backlog/cut"]}
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"journal.jsonl", "lock"} < {path.name for path in files}
    assert {0o600} == {mode(path) for path in files}


def test_a_folder_that_everybody_may_write_to_is_refused(tmp_path: Path) -> None:
    """In such a folder anybody could put another file in the journal's place."""
    tmp_path.chmod(0o777)
    with pytest.raises(ConfigError, match="chmod o-w"):
        open_jsonl(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["journal.jsonl", "lock"])
def test_no_symlink_is_followed(tmp_path: Path, name: str) -> None:
    """A link in the place of a file of the store is refused, and what it leads to is not touched."""
    folder, elsewhere = tmp_path / "store", tmp_path / "elsewhere"
    folder.mkdir(0o700)
    elsewhere.write_bytes(b"precious")
    (folder / name).symlink_to(elsewhere)
    with pytest.raises(BackendUnavailable, match="symlink"):
        open_jsonl(folder)
    assert elsewhere.read_bytes() == b"precious"


def test_a_link_left_where_compaction_writes_is_not_followed(tmp_path: Path) -> None:
    """The file that compaction begins is a new one, whatever has its name."""
    store, elsewhere = open_jsonl(tmp_path / "store"), tmp_path / "elsewhere"
    elsewhere.write_bytes(b"precious")
    (tmp_path / "store" / "journal.new").symlink_to(elsewhere)
    store.compact()
    assert elsewhere.read_bytes() == b"precious"
    assert contents(store) == []


def test_a_folder_may_be_reached_by_a_link(tmp_path: Path) -> None:
    """Only the store's own files must not be links."""
    (tmp_path / "real").mkdir(0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    apply(open_jsonl(tmp_path / "link"), PutRecord(a_record("r")))
    assert len(contents(open_jsonl(tmp_path / "real"))) == 1


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    """A path that is a file, or leads through one, is refused by name."""
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "inside"):
        with pytest.raises(ConfigError, match="is a file"):
            open_jsonl(path)


def test_a_store_that_must_be_there_is_not_made(tmp_path: Path) -> None:
    """With `create=False` an absent folder and an empty one are errors and stay as they are."""
    (tmp_path / "empty").mkdir(0o700)
    for name in ("absent", "empty"):
        with pytest.raises(BackendUnavailable, match="there is no"):
            open_jsonl(tmp_path / name, create=False)
    assert ["empty"] == [path.name for path in tmp_path.iterdir()]
    open_jsonl(tmp_path / "made").close()
    open_jsonl(tmp_path / "made", create=False).close()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/x", "ext4"), ("/srv", "nfs4"), ("/srv/deep/er", "nfs4"), ("/srv/local/x", "xfs"), ("/srvx", "ext4"),
        ("/mnt/a b/c", "cifs"), ("/data/x", "fuse.sshfs"),
    ],
)  # fmt: skip
def test_the_file_system_of_a_folder_is_that_of_the_nearest_mount(tmp_path: Path, path: str, kind: str) -> None:
    """The longest mount point counts, of two at one place the later one, and spaces in names are read."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS.lstrip())
    assert kind == file_system_of(Path(path), mounts=mounts)


def test_network_file_systems_are_refused(tmp_path: Path) -> None:
    """A store is not opened where locks and syncs do not hold, and the error says what lies there."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS.lstrip() + f"40 22 0:50 / {tmp_path} rw - nfs4 server:/x rw\n")
    with pytest.raises(ConfigError, match="nfs4"):
        prepare_folder(tmp_path / "store", backend="jsonl", create=True, mounts=mounts)
    assert not (tmp_path / "store").exists()


def test_a_local_file_system_is_not_refused(tmp_path: Path) -> None:
    """What this machine's own temporary folder lies on is known, or nothing is said of it."""
    assert file_system_of(tmp_path) not in NETWORK_FILE_SYSTEMS
    assert file_system_of(tmp_path, mounts=tmp_path / "absent") == ""
    assert [tmp_path / "a", tmp_path / "a" / "b"] == prepare_folder(tmp_path / "a" / "b", backend="jsonl", create=True)
