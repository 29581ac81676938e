"""Sandboxes from their creation to their end, by the client of one and by the one that manages many."""

from datetime import datetime, timedelta, timezone
from uuid import uuid4

import pytest
from opensandbox import Sandbox, SandboxSync
from opensandbox.exceptions import SandboxApiException
from opensandbox.manager import SandboxManager
from opensandbox.models.sandboxes import SandboxFilter

from service import connection, connection_sync


def words(execution) -> list[str]:
    return [message.text for message in execution.logs.stdout]


async def test_what_is_asked_for_is_there(proxied: bool) -> None:
    sandbox = await Sandbox.create(
        "host",
        connection_config=connection(proxied=proxied),
        timeout=timedelta(minutes=5),
        env={"GREETING": "good day"},
        metadata={"team": "blue"},
        resource={"cpu": "500m", "memory": "256Mi"},
        entrypoint=["sh", "-c", "echo started; exec sleep infinity"],
    )
    try:
        info = await sandbox.get_info()
        assert info.id == sandbox.id
        assert info.status.state == "Running"
        assert info.metadata == {"team": "blue"}
        assert info.entrypoint == ["sh", "-c", "echo started; exec sleep infinity"]
        assert timedelta(minutes=4) < info.expires_at - datetime.now(timezone.utc) <= timedelta(minutes=5)
        assert words(await sandbox.commands.run("echo $GREETING")) == ["good day"]
        metrics = await sandbox.get_metrics()
        assert metrics.cpu_count == 0.5
        assert metrics.memory_total_in_mib == 256
        assert 0 < metrics.memory_used_in_mib < 256
    finally:
        await sandbox.destroy()
    with pytest.raises(SandboxApiException) as gone:
        await sandbox.get_info()
    assert gone.value.status_code == 404


async def test_a_pause_keeps_memory_and_programs(proxied: bool) -> None:
    sandbox = await Sandbox.create("host", connection_config=connection(proxied=proxied))
    try:
        session = await sandbox.commands.create_session()
        await sandbox.commands.run_in_session(session, "SECRET=kept")
        await sandbox.pause()
        assert (await sandbox.get_info()).status.state == "Paused"
        resumed = await Sandbox.resume(sandbox.id, connection_config=connection(proxied=proxied))
        assert (await resumed.get_info()).status.state == "Running"
        assert words(await resumed.commands.run_in_session(session, "echo $SECRET")) == ["kept"]
        await resumed.close()
    finally:
        await sandbox.destroy()


async def test_another_client_finds_it_by_its_id(sandbox: Sandbox, proxied: bool) -> None:
    await sandbox.files.write_file("/tmp/note", "from the first")
    other = await Sandbox.connect(sandbox.id, connection_config=connection(proxied=proxied))
    assert await other.files.read_file("/tmp/note") == "from the first"
    assert await other.is_healthy()
    await other.close()


async def test_a_lease_is_renewed(sandbox: Sandbox) -> None:
    renewed = await sandbox.renew(timedelta(hours=2))
    expected = datetime.now(timezone.utc) + timedelta(hours=2)
    assert abs(renewed.expires_at - expected) < timedelta(minutes=5)
    assert (await sandbox.get_info()).expires_at == renewed.expires_at


async def test_labels_are_changed_and_found(sandbox: Sandbox, manager: SandboxManager) -> None:
    mark = uuid4().hex
    await sandbox.patch_metadata({"mark": mark, "gone": "soon"})
    await sandbox.patch_metadata({"gone": None})
    found = await manager.list_sandbox_infos(SandboxFilter(metadata={"mark": mark}))
    assert [info.id for info in found.sandbox_infos] == [sandbox.id]
    assert found.sandbox_infos[0].metadata == {"mark": mark}
    nothing = await manager.list_sandbox_infos(SandboxFilter(metadata={"mark": mark, "gone": "soon"}))
    assert nothing.sandbox_infos == []


async def test_many_are_listed_by_pages_and_states(manager: SandboxManager) -> None:
    mark = uuid4().hex
    made = [
        await Sandbox.create("host", connection_config=connection(), metadata={"mark": mark}) for _ in range(3)
    ]
    try:
        await manager.pause_sandbox(made[0].id)
        paused = await manager.list_sandbox_infos(SandboxFilter(states=["Paused"], metadata={"mark": mark}))
        assert [info.id for info in paused.sandbox_infos] == [made[0].id]
        await manager.resume_sandbox(made[0].id)
        pages = [
            await manager.list_sandbox_infos(SandboxFilter(metadata={"mark": mark}, page=page, page_size=2))
            for page in (1, 2)
        ]
        newest_first = [info.id for page in pages for info in page.sandbox_infos]
        assert newest_first == [sandbox.id for sandbox in reversed(made)]
        assert [page.pagination.has_next_page for page in pages] == [True, False]
        assert {page.pagination.total_items for page in pages} == {3}
        assert (await manager.get_sandbox_info(made[1].id)).metadata == {"mark": mark}
        killed = made.pop()
        await manager.kill_sandbox(killed.id)
        with pytest.raises(SandboxApiException) as gone:
            await manager.get_sandbox_info(killed.id)
        assert gone.value.status_code == 404
    finally:
        for sandbox in made:
            await sandbox.destroy()


async def test_what_happened_is_told(sandbox: Sandbox) -> None:
    await sandbox.pause()
    events = await sandbox.get_diagnostic_events("lifecycle")
    assert events.content
    logs = await sandbox.get_diagnostic_logs("container")
    assert logs.content is not None


async def test_mistakes_are_refused_with_their_reason() -> None:
    cases = [
        ({"resource": {"cpu": "lots", "memory": "1Gi"}}, "cpu"),
        ({"resource": {"cpu": "1", "memory": "12Xi"}}, "memory"),
        ({"metadata": {"bad key!": "x"}}, "bad key!"),
        ({"metadata": {"opensandbox.io/x": "y"}}, "opensandbox.io"),
        ({"resource": {"cpu": "1", "memory": "1Gi", "gpu": "1"}}, "gpu"),
    ]
    for fields, word in cases:
        with pytest.raises(SandboxApiException) as refused:
            await Sandbox.create("host", connection_config=connection(), **fields)
        assert refused.value.status_code == 400, fields
        assert word in str(refused.value), fields


def test_the_synchronous_client_does_the_same(proxied: bool) -> None:
    sandbox = SandboxSync.create("host", connection_config=connection_sync(proxied=proxied))
    try:
        ran = sandbox.commands.run("echo out; echo err >&2; exit 3")
        assert [message.text for message in ran.logs.stdout] == ["out"]
        assert [message.text for message in ran.logs.stderr] == ["err"]
        assert ran.exit_code == 3
        sandbox.files.write_file("/tmp/ü.txt", "grüße\n")
        assert sandbox.files.read_file("/tmp/ü.txt") == "grüße\n"
        sandbox.pause()
        assert sandbox.get_info().status.state == "Paused"
    finally:
        sandbox.destroy()
