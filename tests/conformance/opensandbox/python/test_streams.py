"""Much output, cut characters, readers that are slow and readers that go away."""

import asyncio
import hashlib
import json

import httpx
from opensandbox import Sandbox
from opensandbox.models.execd import ExecutionHandlers, OutputMessage

BURST_LINES = 65536  # of 64 bytes: 4 MiB on each stream


async def test_bursts_on_both_streams_keep_their_order(sandbox: Sandbox) -> None:
    program = (
        "import sys, threading\n"
        f"def burst(to):\n    for n in range({BURST_LINES}): to.write(f'{{n:063d}}\\n')\n    to.flush()\n"
        "threads = [threading.Thread(target=burst, args=(to,)) for to in (sys.stdout, sys.stderr)]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]\n"
    )
    await sandbox.files.write_file("/tmp/burst.py", program)
    ran = await sandbox.commands.run("python3 /tmp/burst.py")
    expected = [f"{number:063d}" for number in range(BURST_LINES)]
    assert [message.text for message in ran.logs.stdout] == expected
    assert [message.text for message in ran.logs.stderr] == expected


async def test_characters_survive_where_the_program_cuts_them(sandbox: Sandbox) -> None:
    program = (
        "import os, time\n"
        "for byte in 'ä€🦀 e\\u0301'.encode(): os.write(1, bytes([byte])); time.sleep(0.002)\n"
    )
    await sandbox.files.write_file("/tmp/cut.py", program)
    ran = await sandbox.commands.run("python3 /tmp/cut.py")
    assert [message.text for message in ran.logs.stdout] == ["ä€🦀 e\u0301"]


async def test_a_hundred_megabytes_arrive_whole(sandbox: Sandbox) -> None:
    seen = hashlib.sha256()
    lines = 0

    async def on_stdout(message: OutputMessage) -> None:
        nonlocal lines
        seen.update(message.text.encode() + b"\n")
        lines += 1

    program = (
        "import hashlib, sys\n"
        "digest = hashlib.sha256()\n"
        "for number in range(25600):\n"
        "    line = (f'{number:08d}' * 512)[:4095] + '\\n'\n"
        "    digest.update(line.encode()); sys.stdout.write(line)\n"
        "print(digest.hexdigest(), file=sys.stderr)\n"
    )
    await sandbox.files.write_file("/tmp/much.py", program)
    ran = await sandbox.commands.run(
        "python3 /tmp/much.py", handlers=ExecutionHandlers(on_stdout=on_stdout, skip_accumulation=False)
    )
    assert lines == 25600
    assert [message.text for message in ran.logs.stderr] == [seen.hexdigest()]


async def test_a_slow_reader_slows_the_program_and_one_that_goes_away_does_not_end_it(sandbox: Sandbox) -> None:
    async def written() -> int:
        return int((await sandbox.commands.run("stat -c %s /tmp/written")).logs.stdout[0].text)

    endpoint = await sandbox.get_endpoint(44772)
    url = f"http://{endpoint.endpoint}/command"
    headers = {**endpoint.headers, **sandbox.connection_config.headers}
    line = "0123456789" * 100
    body = {"command": f"while :; do echo {line}; echo x >> /tmp/written; done"}
    async with httpx.AsyncClient(timeout=60) as client:
        async with client.stream("POST", url, json=body, headers=headers) as stream:
            pieces = stream.aiter_raw()
            begin = await anext(pieces)
            # Nothing is read from here on: the program must come to rest.
            before, after = -1, 0
            while before != after:
                before = after
                await asyncio.sleep(1)
                after = await written()
            assert (await sandbox.get_metrics()).memory_used_in_mib < 64
            await pieces.aclose()
    # The client is gone now, and nobody waits for what the program writes.
    while await written() == after:
        await asyncio.sleep(0.05)
    await sandbox.commands.interrupt(json.loads(begin.split(b"\n\n")[0])["text"])
    before, after = -1, 0
    while before != after:
        before, after = after, await written()
        await asyncio.sleep(0.2)
