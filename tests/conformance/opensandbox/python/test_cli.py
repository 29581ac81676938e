"""The published command line, as a person or a script calls it."""

import json
import subprocess
import sys
from pathlib import Path

from service import DOMAIN, KEY

PROGRAM = Path(sys.executable).parent / "opensandbox"


def cli(*arguments: str, status: int = 0) -> str:
    connection = ["--api-key", KEY, "--domain", DOMAIN, "--protocol", "http", "--no-color"]
    ran = subprocess.run([PROGRAM, *connection, *arguments], capture_output=True, text=True, timeout=120)
    assert ran.returncode == status, (arguments, ran.stdout, ran.stderr)
    return ran.stdout


def test_a_sandbox_by_the_command_line(tmp_path: Path) -> None:
    made = json.loads(cli("sandbox", "create", "--image", "host", "--metadata", "by=cli", "-o", "json"))
    sandbox = made["id"]
    try:
        assert "6 7" in cli("command", "run", sandbox, "-o", "raw", "--", "echo", "6", "7")
        local = tmp_path / "file"
        local.write_bytes(bytes(range(256)) * 1000)
        cli("file", "upload", sandbox, str(local), "/tmp/file")
        cli("file", "download", sandbox, "/tmp/file", str(tmp_path / "back"))
        assert (tmp_path / "back").read_bytes() == local.read_bytes()
        snapshot = json.loads(cli("snapshot", "create", sandbox, "-o", "json"))["id"]
        cli("snapshot", "delete", snapshot)
        cli("sandbox", "pause", sandbox)
        listed = json.loads(cli("sandbox", "list", "-o", "json"))
        assert (sandbox, "Paused") in [(item["id"], item["status"]["state"]) for item in listed["items"]]
    finally:
        cli("sandbox", "kill", sandbox)
