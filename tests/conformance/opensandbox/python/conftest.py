"""Sandboxes for the tests, with both ways into one: by the address the server hands out, and through the server."""

from collections.abc import AsyncIterator

import pytest
from opensandbox import Sandbox
from opensandbox.manager import SandboxManager

from service import connection


@pytest.fixture(params=[False, True], ids=["direct", "proxied"])
def proxied(request: pytest.FixtureRequest) -> bool:
    return request.param


@pytest.fixture
async def sandbox(proxied: bool) -> AsyncIterator[Sandbox]:
    sandbox = await Sandbox.create("host", connection_config=connection(proxied=proxied))
    try:
        yield sandbox
    finally:
        await sandbox.destroy()


@pytest.fixture
async def manager() -> AsyncIterator[SandboxManager]:
    async with await SandboxManager.create(connection()) as manager:
        yield manager
