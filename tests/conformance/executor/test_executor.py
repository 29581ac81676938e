"""Runs, streams, files, processes and ports, by the published clients."""

import os
import time

import httpx
import pytest
from koyeb.sandbox.errors import SandboxRequestError
from koyeb.sandbox.executor_client import ConnectionInfo, SandboxClient

from conftest import CONNECTION

SHOWN = os.environ["EXECUTOR_SHOWN"]


def eventually(is_so) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_health(client) -> None:
    assert client.health() == {"status": "ok"}


def test_run(client, folder) -> None:
    assert client.run("echo out; echo err >&2") == {"stdout": "out\n", "stderr": "err\n", "code": 0}
    failed = client.run("pwd; echo $A; exit 3", cwd=folder, env={"A": "ä \"b\""})
    assert failed == {"stdout": f"{folder}\nä \"b\"\n", "stderr": "", "error": "Non-zero exit code", "code": 3}
    with pytest.raises(SandboxRequestError) as raised:
        client.run("true", cwd="/no/such")
    assert "Invalid working directory: /no/such" in str(raised.value.__dict__)


def test_much_output(client) -> None:
    ran = client.run("head -c 300000 /dev/zero | tr '\\0' e >&2; head -c 100000000 /dev/zero | tr '\\0' x")
    assert (len(ran["stdout"]), len(ran["stderr"]), ran["code"]) == (100_000_000, 300_000, 0)


def test_streaming(client) -> None:
    events = list(client.run_streaming("printf 'a\\n\\n\\342\\200\\250b\\n'; exit 4"))
    assert events == [
        {"stream": "stdout", "data": "a"},
        {"stream": "stdout", "data": ""},
        {"stream": "stdout", "data": "\u2028b"},
        {"code": 4, "error": True},
    ]


def test_one_long_line(client) -> None:
    events = list(client.run_streaming("head -c 300000 /dev/zero | tr '\\0' e >&2; head -c 100000000 /dev/zero | tr '\\0' x"))
    lengths = {event["stream"]: len(event["data"]) for event in events[:-1]}
    assert (lengths, events[-1]) == ({"stdout": 100_000_000, "stderr": 300_000}, {"code": 0, "error": False})


def test_a_stream_that_is_left_ends_its_command(client, folder) -> None:
    stream = client.run_streaming("echo $$; sleep 1000 & echo $!; wait", cwd=folder)
    pids = [next(stream)["data"], next(stream)["data"]]
    stream.close()
    lives = f"for pid in {' '.join(pids)}; do grep -qs '^State:[[:space:]]*[^Z]' /proc/$pid/status && echo $pid; done; true"
    eventually(lambda: client.run(lives)["stdout"] == "")


def test_files(client, folder) -> None:
    path = f"{folder}/new\nline 'quoted' 😀"
    content = "ä\r\n\"text\"\x00" * 10_000
    assert client.write_file(path, content) == {"success": True}
    assert client.read_file(path) == {"content": content}
    assert "no such file" in client.read_file(f"{folder}/none")["error"]
    assert "no such file" in client.write_file(f"{folder}/none/x", "")["error"]
    assert client.delete_file(path) == {"success": True}
    assert "no such file" in client.delete_file(path)["error"]


def test_directories(client, folder) -> None:
    for _ in range(2):
        assert client.make_dir(f"{folder}/a/b") == {"success": True}
    assert client.write_file(f"{folder}/a/.c", "") == {"success": True}
    assert client.list_dir(f"{folder}/a") == {"entries": [".c", "b"]}
    assert "not empty" in client.delete_file(f"{folder}/a")["error"]
    for _ in range(2):
        assert client.delete_dir(f"{folder}/a") == {"success": True}
    assert "no such file" in client.list_dir(f"{folder}/a")["error"]


def test_processes(client, folder) -> None:
    started = client.start_process("echo begun; sleep 1000", cwd=folder)
    process = started["id"]
    assert started["status"] == "running" and started["pid"] > 0
    entry = next(entry for entry in client.list_processes()["processes"] if entry["id"] == process)
    assert (entry["status"], entry["command"]) == ("running", "echo begun; sleep 1000")
    assert client.kill_process(process) == {"success": True, "message": "Process killed successfully"}
    with pytest.raises(SandboxRequestError) as raised:
        client.kill_process(process)
    assert "process is not running (status: killed)" in str(raised.value.__dict__)
    with pytest.raises(SandboxRequestError) as raised:
        client.kill_process("X")
    assert "process not found: X" in str(raised.value.__dict__)


def test_ports(client, folder) -> None:
    token = {"X-EXECD-ACCESS-TOKEN": CONNECTION.secret}
    client.unbind_port()
    client.write_file(f"{folder}/index.html", "shown")
    serve = (
        "python3 -c \"import http.server as h; s=h.ThreadingHTTPServer(('127.0.0.1',0),h.SimpleHTTPRequestHandler);"
        "open('port','w').write(str(s.server_port)); s.serve_forever()\""
    )
    process = client.start_process(serve, cwd=folder)["id"]
    eventually(lambda: client.read_file(f"{folder}/port").get("content"))
    port = int(client.read_file(f"{folder}/port")["content"])
    bound = client.bind_port(port)
    assert bound == {"success": True, "message": "Port binding configured", "port": str(port)}
    with pytest.raises(SandboxRequestError) as raised:
        client.bind_port(port)
    assert "Port already bound" in str(raised.value.__dict__)
    assert httpx.get(f"{SHOWN}/index.html", headers=token, timeout=60).text == "shown"
    assert client.unbind_port(port) == {"success": True, "message": "Port binding removed"}
    client.kill_process(process)


def test_the_filesystem_helper_reads_its_errors(client) -> None:
    from koyeb.sandbox.filesystem import check_error_message

    assert check_error_message(client.read_file("/no/such")["error"], "NO_SUCH_FILE")
    assert check_error_message(client.list_dir("/no/such")["error"], "NO_SUCH_FILE")


def test_a_wrong_secret_opens_nothing(client) -> None:
    wrong = ConnectionInfo(CONNECTION.public_url, CONNECTION.routing_key, "wrong")
    with SandboxClient(wrong) as other:
        assert other.health() == {"status": "ok"}
        with pytest.raises(SandboxRequestError) as raised:
            other.run("true")
    assert raised.value.status_code == 401 and "Unauthorized" in str(raised.value.__dict__)
