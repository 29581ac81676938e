"""The public conformance suite for sandboxes of `langchain-tests`, through its adapter for OpenSandbox."""

from collections.abc import Iterator

import pytest
from deepagents.backends.protocol import SandboxBackendProtocol
from langchain_opensandbox import OpenSandboxBackend
from langchain_tests.integration_tests import SandboxIntegrationTests
from opensandbox import SandboxSync

from service import connection_sync


class TestOpenSandbox(SandboxIntegrationTests):
    @pytest.fixture(scope="class")
    def sandbox(self) -> Iterator[SandboxBackendProtocol]:
        sandbox = SandboxSync.create("host", connection_config=connection_sync())
        try:
            yield OpenSandboxBackend(sandbox=sandbox)
        finally:
            sandbox.destroy()
