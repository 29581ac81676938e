"""Both published clients, as the environment says where the executor is."""

import asyncio
import inspect
import os
from collections.abc import Iterator

import pytest
from koyeb.sandbox.executor_client import AsyncSandboxClient, ConnectionInfo, SandboxClient

CONNECTION = ConnectionInfo(
    public_url=os.environ["EXECUTOR_URL"],
    routing_key=os.environ["EXECUTOR_ROUTING_KEY"] or None,
    secret=os.environ["EXECUTOR_SECRET"],
)


class Blocking:
    """The asynchronous client, called as the other one is."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.client = self.loop.run_until_complete(self.make())

    async def make(self) -> AsyncSandboxClient:
        return AsyncSandboxClient(CONNECTION, timeout=120)

    def __getattr__(self, name: str):
        method = getattr(self.client, name)

        def call(*args, **kwargs):
            result = method(*args, **kwargs)
            if inspect.isasyncgen(result):
                return self.items(result)
            return self.loop.run_until_complete(result)

        return call

    def items(self, generator) -> Iterator:
        try:
            while True:
                yield self.loop.run_until_complete(anext(generator))
        except StopAsyncIteration:
            return
        finally:
            self.loop.run_until_complete(generator.aclose())


@pytest.fixture(params=["sync", "async"])
def client(request: pytest.FixtureRequest) -> Iterator:
    if request.param == "sync":
        with SandboxClient(CONNECTION, timeout=120) as client:
            yield client
    else:
        client = Blocking()
        yield client
        client.loop.run_until_complete(client.client.close())
        client.loop.close()


@pytest.fixture
def folder(client) -> Iterator[str]:
    path = client.run("mktemp -d")["stdout"].strip()
    assert path.startswith("/") and len(path) > 5, path
    yield path
    client.run("rm -rf -- \"$FOLDER\"", env={"FOLDER": path})
