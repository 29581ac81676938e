"""Servers inside a sandbox, and who reaches them."""

import asyncio
import json

import httpx
import websockets
from opensandbox import Sandbox
from opensandbox.models.execd import RunCommandOpts

from service import DOMAIN, KEY

SERVER = """
import http.server, json
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers['content-length']))
        answer = json.dumps({'path': self.path, 'headers': {k.lower(): v for k, v in self.headers.items()},
                             'length': len(body)}).encode()
        self.send_response(201); self.send_header('Content-Length', str(len(answer))); self.end_headers()
        self.wfile.write(answer)
    def log_message(self, *args): pass
http.server.ThreadingHTTPServer(('127.0.0.1', 8000), Handler).serve_forever()
"""


async def listening(sandbox: Sandbox, port: int) -> None:
    probe = f"exec 3<>/dev/tcp/127.0.0.1/{port}"
    while (await sandbox.commands.run(["bash", "-c", probe])).exit_code != 0:
        await asyncio.sleep(0.02)


async def test_http_with_the_token_or_the_key_and_without(sandbox: Sandbox) -> None:
    await sandbox.files.write_file("/tmp/server.py", SERVER)
    await sandbox.commands.run("exec python3 /tmp/server.py", opts=RunCommandOpts(background=True))
    await listening(sandbox, 8000)
    endpoint = await sandbox.get_endpoint(8000)
    url = f"http://{endpoint.endpoint}/a%20b?c=d"
    async with httpx.AsyncClient() as client:
        for headers in (endpoint.headers, {"OPEN-SANDBOX-API-KEY": KEY}):
            answer = await client.post(url, content=b"x" * 100_000, headers=headers)
            assert answer.status_code == 201, answer.text
            seen = answer.json()
            assert (seen["path"], seen["length"]) == ("/a%20b?c=d", 100_000)
            assert seen["headers"]["x-forwarded-host"] == DOMAIN
            assert "open-sandbox-api-key" not in seen["headers"]
        assert (await client.post(url, content=b"")).status_code == 401
        wrong = {name: "x" * 40 for name in endpoint.headers}
        assert (await client.post(url, content=b"", headers=wrong)).status_code == 401


async def test_nothing_listens(sandbox: Sandbox) -> None:
    endpoint = await sandbox.get_endpoint(9)
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"http://{endpoint.endpoint}/", headers=endpoint.headers)
    assert answer.status_code == 502
    assert answer.json()["code"] == "BACKEND_CONNECTION_FAILED"


async def test_a_terminal_over_a_websocket(sandbox: Sandbox) -> None:
    endpoint = await sandbox.get_endpoint(44772)
    async with httpx.AsyncClient() as client:
        made = await client.post(f"http://{endpoint.endpoint}/pty", json={}, headers=endpoint.headers)
    assert made.status_code in (200, 201), made.text
    session = made.json()["session_id"]
    seen = b""
    url = f"ws://{endpoint.endpoint}/pty/{session}/ws"
    async with websockets.connect(url, additional_headers=endpoint.headers) as socket:
        await socket.send(json.dumps({"type": "resize", "cols": 132, "rows": 50}))
        await socket.send(b"\x00stty size; tty; exit 3\n")
        try:
            async for message in socket:
                seen += message if isinstance(message, bytes) else message.encode()
        except websockets.ConnectionClosed:
            pass
    assert b"50 132" in seen and b"/dev/pts/0" in seen, seen
    assert b'"exit_code":3' in seen.replace(b" ", b""), seen
