"""Times, as a JSON object a line: the published client, and ipykernel driven by jupyter_client."""

import asyncio
import json
import sys
import time
from datetime import timedelta

from jupyter_client.manager import KernelManager
from opensandbox import Sandbox
from opensandbox.config import ConnectionConfig

address, key, runs = sys.argv[1], sys.argv[2], int(sys.argv[3])


def tell(what, seconds):
    print(json.dumps({"what": what, "seconds": seconds}))


async def client():
    config = ConnectionConfig(domain=address, api_key=key, request_timeout=timedelta(seconds=60))
    sandbox = await Sandbox.create("host", connection_config=config)
    try:
        for _ in range(runs):
            start = time.perf_counter()
            assert await sandbox.is_healthy()
            tell("ping", time.perf_counter() - start)
            start = time.perf_counter()
            execution = await sandbox.commands.run("echo hello")
            tell("echo", time.perf_counter() - start)
            assert execution.logs.stdout[0].text == "hello"
    finally:
        await sandbox.kill()
        await sandbox.close()


def result_of(client):
    """Runs 1+1 and waits for its result."""
    request = client.execute("1+1")
    while True:
        message = client.get_iopub_msg(timeout=60)
        if message["parent_header"].get("msg_id") == request and message["msg_type"] == "execute_result":
            assert message["content"]["data"]["text/plain"] == "2"
            return


def ipykernel():
    for run in range(max(3, runs // 10)):
        start = time.perf_counter()
        manager = KernelManager(kernel_name="python3")
        manager.start_kernel()
        client = manager.client()
        client.start_channels()
        client.wait_for_ready(timeout=60)
        result_of(client)
        tell("ipykernel_fresh", time.perf_counter() - start)
        if run == 0:
            for _ in range(runs):
                start = time.perf_counter()
                result_of(client)
                tell("ipykernel_hot", time.perf_counter() - start)
        client.stop_channels()
        manager.shutdown_kernel(now=True)


asyncio.run(client())
ipykernel()
