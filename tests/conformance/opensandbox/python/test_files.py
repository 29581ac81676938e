"""Files and folders: written, read, searched, changed, moved and taken away."""

import io
import os

import pytest
from opensandbox import Sandbox
from opensandbox.exceptions import SandboxApiException, SandboxException
from opensandbox.models.filesystem import (
    ContentReplaceEntry,
    DirectoryListEntry,
    MoveEntry,
    SearchEntry,
    SetPermissionEntry,
    WriteEntry,
)


async def test_texts_and_bytes_come_back_as_they_went(sandbox: Sandbox) -> None:
    noise = os.urandom(3_000_000)
    await sandbox.files.write_files(
        [
            WriteEntry(path="/tmp/a/text", data="zwölf Boxkämpfer\n", mode=640),
            WriteEntry(path="/tmp/a/noise", data=noise, mode=600),
            WriteEntry(path="/tmp/a/stream", data=io.BytesIO(noise), mode=644),
            WriteEntry(path="/tmp/a/with space ü\n'\"", data=b"", mode=755),
        ]
    )
    assert await sandbox.files.read_file("/tmp/a/text") == "zwölf Boxkämpfer\n"
    assert await sandbox.files.read_bytes("/tmp/a/noise") == noise
    assert await sandbox.files.read_bytes("/tmp/a/stream") == noise
    assert await sandbox.files.read_bytes("/tmp/a/with space ü\n'\"") == b""
    infos = await sandbox.files.get_file_info(["/tmp/a/text", "/tmp/a/noise"])
    assert [(infos[path].mode, infos[path].size) for path in ("/tmp/a/text", "/tmp/a/noise")] == [
        (640, 19),
        (600, 3_000_000),
    ]
    assert infos["/tmp/a/text"].owner == "root"


async def test_parts_of_a_file(sandbox: Sandbox) -> None:
    await sandbox.files.write_file("/tmp/lines", "".join(f"line {n}\n" for n in range(1, 11)))
    assert await sandbox.files.read_file("/tmp/lines", range_header="bytes=5-9") == "1\nlin"
    assert await sandbox.files.read_file("/tmp/lines", range_header="bytes=-8") == "line 10\n"
    assert await sandbox.files.read_file("/tmp/lines", offset=3, limit=2) == "line 3\nline 4\n"
    with pytest.raises(SandboxApiException) as beyond:
        await sandbox.files.read_file("/tmp/lines", range_header="bytes=1000-")
    assert beyond.value.status_code == 416
    stream = await sandbox.files.read_bytes_stream("/tmp/lines", chunk_size=7)
    assert b"".join([piece async for piece in stream]).startswith(b"line 1\nline 2\n")


async def test_a_tree_is_listed_and_searched(sandbox: Sandbox) -> None:
    await sandbox.files.create_directories(
        [WriteEntry(path="/tmp/t/deep/er", mode=755), WriteEntry(path="/tmp/t/side", mode=700)]
    )
    for path in ("/tmp/t/one.py", "/tmp/t/deep/two.py", "/tmp/t/deep/er/three.py", "/tmp/t/deep/er/three.txt"):
        await sandbox.files.write_file(path, path)
    found = await sandbox.files.search(SearchEntry(path="/tmp/t", pattern="*.py"))
    assert sorted(entry.path for entry in found) == [
        "/tmp/t/deep/er/three.py",
        "/tmp/t/deep/two.py",
        "/tmp/t/one.py",
    ]
    listed = await sandbox.files.list_directory(DirectoryListEntry(path="/tmp/t", depth=1))
    assert sorted((entry.path, entry.entry_type) for entry in listed) == [
        ("/tmp/t/deep", "directory"),
        ("/tmp/t/one.py", "file"),
        ("/tmp/t/side", "directory"),
    ]


async def test_contents_modes_and_names_are_changed(sandbox: Sandbox) -> None:
    await sandbox.files.write_file("/tmp/c", "red green red", mode=644)
    changed = await sandbox.files.replace_contents_detailed(
        [ContentReplaceEntry(path="/tmp/c", old_content="red", new_content="blue")]
    )
    assert [(result.path, result.replaced_count) for result in changed] == [("/tmp/c", 2)]
    assert await sandbox.files.read_file("/tmp/c") == "blue green blue"
    await sandbox.files.set_permissions(
        [SetPermissionEntry(path="/tmp/c", mode=600, owner="sandbox", group="sandbox")]
    )
    await sandbox.files.move_files([MoveEntry(src="/tmp/c", dest="/tmp/d")])
    info = (await sandbox.files.get_file_info(["/tmp/d"]))["/tmp/d"]
    assert (info.mode, info.owner, info.group) == (600, "sandbox", "sandbox")
    with pytest.raises(SandboxException):
        await sandbox.files.read_file("/tmp/c")


async def test_what_is_taken_away_is_gone(sandbox: Sandbox) -> None:
    await sandbox.files.write_file("/tmp/x/y/z", "")
    await sandbox.files.delete_files(["/tmp/x/y/z", "/tmp/never/was"])
    await sandbox.files.delete_directories(["/tmp/x"])
    assert [m.text for m in (await sandbox.commands.run("ls /tmp")).logs.stdout] == []
    with pytest.raises(SandboxApiException) as missing:
        await sandbox.files.read_file("/tmp/x/y/z")
    assert missing.value.status_code == 404
