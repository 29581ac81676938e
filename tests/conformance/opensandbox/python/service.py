"""Where the server under test is, told by the environment: `ATOLL_DOMAIN` (host:port) and `ATOLL_KEY`."""

import os

from opensandbox.config import ConnectionConfig, ConnectionConfigSync

DOMAIN = os.environ["ATOLL_DOMAIN"]
KEY = os.environ["ATOLL_KEY"]


def connection(*, proxied: bool = False) -> ConnectionConfig:
    return ConnectionConfig(domain=DOMAIN, api_key=KEY, protocol="http", use_server_proxy=proxied)


def connection_sync(*, proxied: bool = False) -> ConnectionConfigSync:
    return ConnectionConfigSync(domain=DOMAIN, api_key=KEY, protocol="http", use_server_proxy=proxied)
