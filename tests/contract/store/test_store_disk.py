"""Test disks that are full or read-only, and damaged files."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from cmc_notify.core.model import JobState
from cmc_notify.ports import PollCommit
from cmc_notify.store import Store, open_store
from support.store_outages import all_good, refused

MakeState = Callable[..., JobState]
MakeCommit = Callable[..., PollCommit]
on_sqlite = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a disk")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@needs_root
async def test_a_disk_that_is_full(
    small_disk: Path, hands: SimpleNamespace, make_state: MakeState, make_commit: MakeCommit
) -> None:
    """With no room a commit is refused whole and reads go on; with room again it goes through."""
    store = await open_store(f"sqlite:///{small_disk}/store.db", clock=lambda: hands.now, exclusive=True)
    await store.poll.commit_poll(make_commit(0))
    (small_disk / "ballast").write_bytes(bytes(free_bytes(small_disk)))
    big = make_commit(1, *(make_state(number) for number in range(300)))
    message = await refused(store.poll.commit_poll(big))
    assert str(small_disk / "store.db") in message
    assert "free space on its disk" in message
    assert (await store.poll.load_snapshot("emea")).version == 1
    (small_disk / "ballast").unlink()
    assert await store.poll.commit_poll(big) == 2
    await store.close()


@needs_root
async def test_a_disk_full_at_the_start(small_disk: Path, hands: SimpleNamespace) -> None:
    """A store for which there is no room is refused by name, and opened once there is."""
    url = f"sqlite:///{small_disk}/store.db"
    (small_disk / "ballast").write_bytes(bytes(free_bytes(small_disk) - 8192))
    assert "free space on its disk" in await refused(open_store(url, clock=lambda: hands.now, exclusive=True))
    (small_disk / "ballast").unlink()
    await (await open_store(url, clock=lambda: hands.now, exclusive=True)).close()


def remount(disk: Path, mode: str) -> None:
    """Make it read-only (``ro``) or writable (``rw``)."""
    subprocess.run(["mount", "-o", f"remount,{mode}", str(disk)], check=True)


def free_bytes(disk: Path) -> int:
    """Return the space that is left on it."""
    return shutil.disk_usage(disk).free


@needs_root
async def test_a_disk_that_can_only_be_read(
    small_disk: Path, hands: SimpleNamespace, make_commit: MakeCommit
) -> None:
    """A file system that turned read-only is named, at the opening too; writable again, all goes on."""
    url = f"sqlite:///{small_disk}/store.db"
    store = await open_store(url, clock=lambda: hands.now, exclusive=True)
    await store.poll.commit_poll(make_commit(0))
    await store.close()
    remount(small_disk, "ro")
    message = await refused(open_store(url, clock=lambda: hands.now, exclusive=True))
    assert "file system that can be written" in message
    remount(small_disk, "rw")
    store = await open_store(url, clock=lambda: hands.now, exclusive=True)
    await all_good(store)
    await store.close()


@on_sqlite
async def test_a_connection_that_can_only_read(store: Store, make_commit: MakeCommit) -> None:
    """A connection made while nothing could be written is not used again after it said so."""
    await store.poll.commit_poll(make_commit(0))
    async with store._database.read() as connection:
        await connection.exec_driver_sql("PRAGMA query_only = ON")
    assert "make the file and its folder writable" in await refused(store.ledger.ping())
    await all_good(store)


@on_sqlite
async def test_damage_while_it_runs(
    store: Store, store_url: str, hands: SimpleNamespace, make_state: MakeState, make_commit: MakeCommit
) -> None:
    """Damage that shows while the bridge runs is named at each call; a restored backup opens again."""
    path = Path(store_url.removeprefix("sqlite:///"))
    await store.poll.commit_poll(make_commit(0, *(make_state(number) for number in range(500))))
    await store.close()
    store = await open_store(store_url, clock=lambda: hands.now, exclusive=True)
    with damaged(path):
        for _ in range(2):
            assert "restore a backup" in await refused(store.poll.load_snapshot("emea"))
        await store.close()
    again = await open_store(store_url, clock=lambda: hands.now, exclusive=True)
    await all_good(again)
    await again.close()


@contextmanager
def damaged(path: Path) -> Iterator[None]:
    """Write over the file in place; restore it in the end, as one restores a backup."""
    backup = path.read_bytes()
    with path.open("r+b") as file:
        file.write(b"\xff" * len(backup))
    yield
    for name in ("-wal", "-shm"):
        path.with_name(path.name + name).unlink(missing_ok=True)
    path.write_bytes(backup)
