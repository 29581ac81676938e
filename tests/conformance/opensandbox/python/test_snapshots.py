"""Snapshots, and sandboxes made from them."""

from opensandbox import Sandbox
from opensandbox.manager import SandboxManager
from opensandbox.models.sandboxes import SnapshotFilter

from service import connection


async def test_a_snapshot_outlives_its_sandbox(manager: SandboxManager) -> None:
    first = await Sandbox.create("host", connection_config=connection())
    await first.files.write_file("/root/kept", "as it was")
    snapshot = await first.create_snapshot("before")
    await first.files.write_file("/root/kept", "changed")
    assert snapshot.sandbox_id == first.id
    ready = await manager.get_snapshot(snapshot.id)
    assert (ready.name, ready.status.state) == ("before", "Ready")
    listed = await manager.list_snapshots(SnapshotFilter(sandbox_id=first.id))
    assert [info.id for info in listed.snapshot_infos] == [snapshot.id]
    await first.destroy()
    second = await Sandbox.create(snapshot_id=snapshot.id, connection_config=connection())
    try:
        assert await second.files.read_file("/root/kept") == "as it was"
    finally:
        await second.destroy()
    await manager.delete_snapshot(snapshot.id)
    left = await manager.list_snapshots(SnapshotFilter(sandbox_id=first.id))
    assert left.snapshot_infos == []
