"""Files of the Python client against the real server, with the connection cut in the middle."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from signalling import serving
from test_files_live import keeping

from sfu.server import uploads
from sfu.server.contents import Contents, Folder
from sfu_client import ClientError, RefusedError, Room
from sfu_client import files as client_files
from sfu_client.events import ChatReceived

SIZE = 700_000


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_files, "RETRIES_S", (0.01, 0.01))


CONTENT = os.urandom(SIZE)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "notes ü.bin"
    path.write_bytes(CONTENT)
    return path


def content(path: Path) -> bytes:
    return path.read_bytes()


def unfinished(folder: Path) -> list[Path]:
    return list(folder.rglob("*.part"))


async def test_a_file_is_sent_received_and_told_how_far(tmp_path: Path, source: Path) -> None:
    async with (
        serving(keeping(tmp_path / "data")) as server,
        Room.connect(server.http_url, "r", name="Ann") as ann,
        Room.connect(server.http_url, "r", name="Ben") as ben,
    ):
        heard = ben.events()
        told: list[tuple[int, int]] = []
        sent = await ann.files.send(source, "have a look", progress=lambda *far: told.append(far))
        assert told[-1] == (SIZE, SIZE)
        async for event in heard:
            if isinstance(event, ChatReceived):
                break
        assert event.message == sent
        assert (event.message.text, event.message.file) == ("have a look", sent.file)
        assert sent.file is not None
        told.clear()
        saved = await ben.files.download(sent.file, tmp_path / "data", progress=lambda *far: told.append(far))
        assert content(saved) == CONTENT
        assert saved.name == (await ben.files.info(sent.file)).name
        assert told[-1] == (SIZE, SIZE)
        assert unfinished(tmp_path) == []


async def test_an_upload_goes_on_after_a_loss(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = uploads.Uploads.append
    calls: list[int] = []

    async def loses_the_answer(self: Any, upload: Any, offset: int, *rest: Any) -> Any:
        calls.append(offset)
        done = await append(self, upload, offset, *rest)
        if len(calls) in {2, 4}:
            raise ConnectionResetError
        return done

    monkeypatch.setattr("sfu.server.api.files.CHUNK_BYTES", SIZE // 4)
    monkeypatch.setattr(uploads.Uploads, "append", loses_the_answer)
    async with (
        serving(keeping(tmp_path / "data")) as server,
        Room.connect(server.http_url, "r", name="Ann") as ann,
    ):
        info = await ann.files.upload(source)
        assert info.bytes == SIZE
        assert calls == [0, SIZE // 4, SIZE // 2, SIZE // 4 * 3], "what arrived is not sent again"
        assert content(await ann.files.download(info.id, tmp_path / "back")) == CONTENT


async def test_an_upload_that_is_cancelled_leaves_nothing(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfu.server.api.files.CHUNK_BYTES", SIZE // 4)
    monkeypatch.setattr(uploads, "MAX_UPLOADS", 1)
    async with (
        serving(keeping(tmp_path / "data")) as server,
        Room.connect(server.http_url, "r", name="Ann") as ann,
    ):
        for _ in range(2):
            begun = asyncio.Event()
            upload = asyncio.create_task(ann.files.upload(source, progress=lambda *_, on=begun: on.set()))
            await asyncio.wait_for(begun.wait(), 10)
            upload.cancel()
            with pytest.raises(asyncio.CancelledError):
                await upload
            assert list((tmp_path / "data" / "uploads").iterdir()) == []
        assert (await ann.files.upload(source)).bytes == SIZE


async def test_a_download_goes_on_after_a_loss(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str | None] = []
    async with (
        serving(keeping(tmp_path / "data")) as server,
        Room.connect(server.http_url, "r", name="Ann") as ann,
    ):
        respond = Folder.respond

        async def breaks_off(self: Contents, request: web.Request, *rest: Any, **more: Any) -> Any:
            asked.append(request.headers.get("Range"))
            if len(asked) > 1:
                return await respond(self, request, *rest, **more)
            answer = web.StreamResponse(headers={"Content-Length": str(SIZE)})
            await answer.prepare(request)
            await answer.write(CONTENT[:1000])
            assert request.transport is not None
            request.transport.close()
            return answer

        monkeypatch.setattr(Folder, "respond", breaks_off)
        info = await ann.files.upload(source)
        saved = await ann.files.download(info.id, tmp_path / "back")
        assert content(saved) == CONTENT
        assert asked == ["bytes=0-", "bytes=1000-"]


async def test_what_is_refused_is_not_tried_again(tmp_path: Path, source: Path) -> None:
    async with (
        serving(keeping(tmp_path / "data", file_bytes=1000)) as server,
        Room.connect(server.http_url, "r", name="Ann") as ann,
    ):
        with pytest.raises(RefusedError, match="too_large"):
            await ann.files.upload(source)
        with pytest.raises(RefusedError, match="not_found"):
            await ann.files.download("FI_nothing", tmp_path)
    with pytest.raises(ClientError):
        await ann.files.info("FI_nothing")
