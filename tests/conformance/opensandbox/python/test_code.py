"""Stateful code through the published code interpreter."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from code_interpreter import CodeInterpreter
from opensandbox import Sandbox
from opensandbox.exceptions import SandboxApiException
from opensandbox.models.execd import ExecutionHandlers


@pytest.fixture
async def interpreter(sandbox: Sandbox) -> AsyncIterator[CodeInterpreter]:
    # It waits until the interpreter inside is found to listen.
    yield await CodeInterpreter.create(sandbox)


def out(execution) -> str:
    return "".join(message.text for message in execution.logs.stdout)


@pytest.mark.parametrize(
    ("language", "first", "second", "value"),
    [
        ("python", "import math\ndef f(x): return x * k\nk = 6", "f(7)", "42"),
        ("javascript", "const k = 6; function f(x) { return x * k }", "f(7)", "42"),
        ("typescript", "const k: number = 6; function f(x: number): number { return x * k }", "f(7)", "42"),
    ],
)
async def test_what_is_declared_is_there_in_the_next_run(
    interpreter: CodeInterpreter, language: str, first: str, second: str, value: str
) -> None:
    context = await interpreter.codes.create_context(language)
    ran = await interpreter.codes.run(first, context=context)
    assert ran.error is None, ran.error
    ran = await interpreter.codes.run(second, context=context)
    assert ran.error is None, ran.error
    assert [result.text for result in ran.result] == [value]


async def test_a_shell_keeps_its_variables_and_folder(interpreter: CodeInterpreter) -> None:
    await interpreter.codes.run("cd /usr; K=6", language="bash")
    ran = await interpreter.codes.run("pwd; echo $((K * 7))", language="bash")
    assert out(ran) == "/usr\n42\n"


async def test_errors_have_the_languages_own_form(interpreter: CodeInterpreter) -> None:
    ran = await interpreter.codes.run("print('before')\n1 / 0", language="python")
    assert out(ran) == "before\n"
    assert (ran.error.name, ran.error.value) == ("ZeroDivisionError", "division by zero")
    assert any("line 2" in line for line in ran.error.traceback)
    ran = await interpreter.codes.run("undefined.x", language="javascript")
    assert ran.error.name == "TypeError"


async def test_contexts_know_nothing_of_each_other(interpreter: CodeInterpreter) -> None:
    one, other = [await interpreter.codes.create_context("python") for _ in range(2)]
    await interpreter.codes.run("secret = 1", context=one)
    assert (await interpreter.codes.run("secret", context=other)).error.name == "NameError"
    known = {context.id for context in await interpreter.codes.list_contexts("python")}
    assert {one.id, other.id} <= known
    await interpreter.codes.delete_context(one.id)
    assert one.id not in {context.id for context in await interpreter.codes.list_contexts("python")}
    with pytest.raises(SandboxApiException):
        await interpreter.codes.run("1", context=one)


async def test_two_contexts_run_at_once(interpreter: CodeInterpreter) -> None:
    one, other = [await interpreter.codes.create_context("python") for _ in range(2)]
    waiting = "import os, time\nwhile not os.path.exists('/tmp/go'): time.sleep(0.01)\n'went'"
    run = asyncio.create_task(interpreter.codes.run(waiting, context=one))
    ran = await interpreter.codes.run("open('/tmp/go', 'w').close()", context=other)
    assert ran.error is None
    assert [result.text for result in (await run).result] == ["'went'"]


async def test_a_busy_loop_is_interrupted_and_what_was_known_stays(interpreter: CodeInterpreter) -> None:
    context = await interpreter.codes.create_context("python")
    await interpreter.codes.run("kept = 7", context=context)
    looping = asyncio.Event()

    async def on_stdout(_message) -> None:
        looping.set()

    run = asyncio.create_task(
        interpreter.codes.run(
            "print('on', flush=True)\nwhile True: pass",
            context=context,
            handlers=ExecutionHandlers(on_stdout=on_stdout),
        )
    )
    await asyncio.wait_for(looping.wait(), 60)
    await interpreter.codes.interrupt(context.id)
    assert (await run).error.name == "KeyboardInterrupt"
    assert [result.text for result in (await interpreter.codes.run("kept", context=context)).result] == ["7"]


async def test_output_comes_while_the_code_runs(interpreter: CodeInterpreter) -> None:
    first = asyncio.Event()

    async def on_stdout(_message) -> None:
        first.set()

    code = (
        "import os, time\nprint('first', flush=True)\n"
        "while not os.path.exists('/tmp/go'): time.sleep(0.01)\nprint('second')"
    )
    run = asyncio.create_task(
        interpreter.codes.run(code, language="python", handlers=ExecutionHandlers(on_stdout=on_stdout))
    )
    await asyncio.wait_for(first.wait(), 60)
    await interpreter.files.write_file("/tmp/go", "")
    assert out(await run) == "first\nsecond\n"
