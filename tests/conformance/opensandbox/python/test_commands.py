"""Commands: their output, ends, users and times; in the foreground, in the background and in sessions."""

import asyncio
from datetime import timedelta

import pytest
from opensandbox import Sandbox
from opensandbox.exceptions import SandboxApiException, SandboxException
from opensandbox.models.execd import ExecutionHandlers, RunCommandOpts


def out(execution) -> list[str]:
    return [message.text for message in execution.logs.stdout]


def err(execution) -> list[str]:
    return [message.text for message in execution.logs.stderr]


async def until_ended(sandbox: Sandbox, command: str):
    while (status := await sandbox.commands.get_command_status(command)).running:
        await asyncio.sleep(0.02)
    return status


async def test_both_streams_and_the_exit_code(sandbox: Sandbox) -> None:
    ran = await sandbox.commands.run("echo one; echo; echo two >&2; printf tail; exit 7")
    assert out(ran) == ["one", "\n", "tail"]
    assert err(ran) == ["two"]
    assert ran.exit_code == 7
    assert (ran.error.name, ran.error.value) == ("CommandExecError", "7")
    assert ran.complete is None


async def test_a_success_is_complete(sandbox: Sandbox) -> None:
    ran = await sandbox.commands.run("true")
    assert ran.exit_code == 0 and ran.error is None
    assert ran.complete.execution_time_in_millis >= 0


async def test_arguments_are_passed_as_they_are(sandbox: Sandbox) -> None:
    ran = await sandbox.commands.run(["printf", "%s|", "$HOME", "a b", "", "'\"", "é"])
    assert out(ran) == ["$HOME|a b||'\"|é|"]


async def test_folder_environment_and_user(sandbox: Sandbox) -> None:
    opts = RunCommandOpts(working_directory="/usr", envs={"WORD": "a=b c"}, uid=1000, gid=1000)
    ran = await sandbox.commands.run("pwd; echo $WORD; id -u; id -g", opts=opts)
    assert out(ran) == ["/usr", "a=b c", "1000", "1000"]
    with pytest.raises(SandboxApiException) as refused:
        await sandbox.commands.run("true", opts=RunCommandOpts(working_directory="/nowhere"))
    assert refused.value.status_code == 400


async def test_what_is_set_holds_for_later_commands(sandbox: Sandbox) -> None:
    for value in ("it's $5 \"now\" \\n", "plain $HOME", "two\nlines", "a='b\nc'"):
        await sandbox.commands.set_env("TOKEN", value)
        ran = await sandbox.commands.run(["python3", "-c", "import os; print(ascii(os.environ['TOKEN']))"])
        assert out(ran) == [ascii(value)]


async def test_a_time_out_ends_the_whole_group(sandbox: Sandbox) -> None:
    opts = RunCommandOpts(timeout=timedelta(milliseconds=300))
    ran = await sandbox.commands.run("sleep 1000 & echo $!; sleep 1000", opts=opts)
    assert ran.error.value == "-1"
    check = await sandbox.commands.run(f"test -e /proc/{out(ran)[0]} && grep State /proc/{out(ran)[0]}/status")
    assert out(check) in ([], ["State:\tZ (zombie)"])


async def test_output_comes_while_the_program_runs(sandbox: Sandbox) -> None:
    first = asyncio.Event()

    async def on_stdout(message) -> None:
        if message.text == "first":
            first.set()

    run = asyncio.create_task(
        sandbox.commands.run(
            "echo first; while [ ! -e /tmp/go ]; do sleep 0.01; done; echo second",
            handlers=ExecutionHandlers(on_stdout=on_stdout),
        )
    )
    await asyncio.wait_for(first.wait(), 30)
    await sandbox.files.write_file("/tmp/go", "")
    assert out(await run) == ["first", "second"]


async def test_the_background_goes_on_and_its_log_is_read_by_cursor(sandbox: Sandbox) -> None:
    started = await sandbox.commands.run(
        "echo one; while [ ! -e /tmp/go ]; do sleep 0.01; done; echo two; exit 4",
        opts=RunCommandOpts(background=True),
    )
    while not (first := await sandbox.commands.get_background_command_logs(started.id)).content:
        await asyncio.sleep(0.02)
    assert first.content == "one\n"
    assert (await sandbox.commands.get_command_status(started.id)).running
    await sandbox.files.write_file("/tmp/go", "")
    status = await until_ended(sandbox, started.id)
    assert status.exit_code == 4
    rest = await sandbox.commands.get_background_command_logs(started.id, cursor=first.cursor)
    assert rest.content == "two\n"


async def test_an_interrupt_ends_a_command(sandbox: Sandbox) -> None:
    known = asyncio.Event()
    ids = []

    async def on_init(init) -> None:
        ids.append(init.id)
        known.set()

    run = asyncio.create_task(
        sandbox.commands.run("sleep 1000", handlers=ExecutionHandlers(on_init=on_init))
    )
    await asyncio.wait_for(known.wait(), 30)
    await sandbox.commands.interrupt(ids[0])
    assert (await run).error is not None
    assert not (await sandbox.commands.get_command_status(ids[0])).running


async def test_a_session_remembers(sandbox: Sandbox) -> None:
    session = await sandbox.commands.create_session(working_directory="/tmp")
    await sandbox.commands.run_in_session(session, "X=5; cd /usr; f() { echo $((X * $1)); }; export Y=6")
    assert out(await sandbox.commands.run_in_session(session, "pwd; f 4; sh -c 'echo $Y'")) == ["/usr", "20", "6"]
    failed = await sandbox.commands.run_in_session(session, "false")
    assert failed.error.value == "1"
    assert out(await sandbox.commands.run_in_session(session, "echo $X")) == ["5"]
    await sandbox.commands.delete_session(session)
    with pytest.raises(SandboxException):
        await sandbox.commands.run_in_session(session, "echo $X")
