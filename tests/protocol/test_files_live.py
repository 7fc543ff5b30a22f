"""Files over HTTP, as docs/protocol.md has it."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from PIL import Image
from signalling import Clients, Signal, clients, local_config

from sfu.config import Config, ServerConfig, StorageConfig
from sfu.server import uploads


def keeping(folder: Path, **limits: int) -> Config:
    server = ServerConfig(host="127.0.0.1", port=0, https_port=-1, data_dir=str(folder))
    return local_config(server=server, storage=StorageConfig(**limits))


def picture(width: int = 900, height: int = 600) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 30)).save(out, "PNG")
    return out.getvalue()


class Sender:
    """One participant's requests about files of the room `r`."""

    def __init__(self, those: Clients, who: Signal | None) -> None:
        self._base = those.server.http_url + "/api/v1/rooms/r/files"
        self._http = those.http
        secret = f"Participant {who.me}:{who.joined['secret']}" if who else ""
        self._headers = {"Authorization": secret} if secret else {}

    async def ask(self, method: str, path: str = "", **options: Any) -> aiohttp.ClientResponse:
        answer = await self._http.request(method, self._base + path, headers=self._headers, **options)
        await answer.read()
        return answer

    async def json(self, method: str, path: str = "", **options: Any) -> tuple[int, dict[str, Any]]:
        answer = await self.ask(method, path, **options)
        body = await answer.json()
        return answer.status, body.get("error", body)

    async def upload(self, name: str, content: bytes) -> dict[str, Any]:
        status, begun = await self.json("POST", json={"name": name, "bytes": len(content)})
        assert status == 201, begun
        step = begun["chunk_bytes"]
        done: dict[str, Any] = {}
        for offset in range(0, len(content), step):
            chunk = content[offset : offset + step]
            status, done = await self.json("PATCH", f"/{begun['id']}", params={"offset": offset}, data=chunk)
            assert status == 200, done
        file: dict[str, Any] = done["file"]
        return file


async def test_a_picture_is_sent_shown_and_survives_a_restart(tmp_path: Path) -> None:
    content = picture()
    async with clients(keeping(tmp_path)) as those:
        ann, ben = await those.join(), await those.join(name="Ben")
        file = await Sender(those, ann).upload("../../holiday <1>.png", content)
        assert (file["name"], file["type"], file["bytes"]) == ("holiday _1_.png", "image/png", len(content))
        assert (file["width"], file["height"]) == (900, 600)
        sent = await ann.request("chat", text="", file=file["id"])
        assert sent["message"]["file"] == file["id"]
        assert (await ben.next("chat"))["message"]["file"] == file["id"]
    async with clients(keeping(tmp_path)) as those:
        cat = Sender(those, await those.join(name="Cat"))
        answer = await cat.ask("GET", f"/{file['id']}")
        assert hashlib.sha256(await answer.read()).digest() == hashlib.sha256(content).digest()
        assert answer.headers["Content-Disposition"].startswith("attachment; ")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
        small = await cat.ask("GET", f"/{file['id']}/thumbnail")
        assert Image.open(io.BytesIO(await small.read())).size == (480, 320)
        assert (await cat.json("GET", f"/{file['id']}/info"))[1]["file"] == file


async def test_history_of_messages_with_files_only() -> None:
    async with clients() as those:
        ann, ben, cid = await those.join(), await those.join(name="Ben"), await those.join(name="Cid")
        assert ann.joined["max_file_bytes"] == StorageConfig().file_bytes
        files = [await Sender(those, ann).upload(f"{number}.txt", b"x") for number in range(4)]
        for number, file in enumerate(files):
            private = {"to": ben.me} if number == 3 else {}
            await ann.request("chat", text=f"file {number}", file=file["id"], **private)
            await ann.request("chat", text="no file")

        async def page(who: Signal, **members: Any) -> tuple[list[str], bool]:
            answer = await who.request("chat_history", files=True, **members)
            return [message["text"] for message in answer["messages"]], answer["more"]

        assert await page(ben, limit=2) == (["file 2", "file 3"], True)
        assert await page(ben, before=5) == (["file 0", "file 1"], False)
        assert await page(cid) == (["file 0", "file 1", "file 2"], False)
        await ann.request("chat_delete", message=1)
        assert await page(cid) == (["file 1", "file 2"], False)


async def test_an_upload_goes_on_after_a_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    async with clients() as those:
        ann = Sender(those, await those.join())
        content = bytes(range(256)) * 40
        _, begun = await ann.json("POST", json={"name": "a.bin", "bytes": len(content)})
        path = f"/{begun['id']}"
        await ann.json("PATCH", path, params={"offset": 0}, data=content[:4000])
        # The answer to this one was lost: the client asks how far it came.
        await ann.json("PATCH", path, params={"offset": 4000}, data=content[4000:5000])
        assert (await ann.json("PATCH", path, params={"offset": 4000}, data=b"x"))[1]["code"] == "bad_offset"
        assert (await ann.json("GET", path + "/upload"))[1]["offset"] == 5000
        status, done = await ann.json("PATCH", path, params={"offset": 5000}, data=content[5000:])
        assert (status, done["file"]["type"]) == (200, "application/octet-stream")
        assert await (await ann.ask("GET", path)).read() == content
        assert (await ann.json("GET", path + "/upload"))[1]["code"] == "not_found"


async def test_every_door_asks_who_is_there() -> None:
    async with clients() as those:
        ann, ben = await those.join(), await those.join(name="Ben")
        elsewhere = await those.join("elsewhere", name="Eve")
        mine = Sender(those, ann)
        file = await mine.upload("a.txt", b"hello")
        for path in ("", "/info", "/thumbnail", "/upload"):
            for who in (None, elsewhere):
                status, refused = await Sender(those, who).json("GET", f"/{file['id']}{path}")
                assert (status, refused["code"]) == (401, "bad_token"), path
        assert (await Sender(those, None).json("POST", json={"name": "a", "bytes": 1}))[0] == 401
        _, begun = await mine.json("POST", json={"name": "a.txt", "bytes": 5})
        stolen = await Sender(those, ben).json("PATCH", f"/{begun['id']}", params={"offset": 0}, data=b"x")
        assert stolen[1]["code"] == "not_found"
        assert (await ben.request("chat", text="", file=file["id"]))["code"] == "not_found"
        assert (await ann.request("chat", text="", file="FI_no"))["code"] == "not_found"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"name": "a", "bytes": 101}, 413, "too_large"),
        ({"name": "a", "bytes": 0}, 400, "bad_request"),
        ({"name": "", "bytes": 1}, 400, "bad_request"),
        ({"name": "a"}, 400, "bad_request"),
        ([], 400, "bad_request"),
    ],
)
async def test_bad_uploads_are_refused(tmp_path: Path, body: object, status: int, code: str) -> None:
    async with clients(keeping(tmp_path, file_bytes=100)) as those:
        ann = Sender(those, await those.join())
        refused = await ann.json("POST", json=body)
        assert (refused[0], refused[1]["code"]) == (status, code)


async def test_quotas_and_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_UPLOADS", 2)
    async with clients(keeping(tmp_path, room_bytes=250, person_bytes=150)) as those:
        ann, ben = [Sender(those, await those.join(name=name)) for name in ("Ann", "Ben")]
        await ann.upload("a", b"x" * 100)
        full = await ann.json("POST", json={"name": "b", "bytes": 51})
        assert (full[0], full[1]["code"]) == (507, "quota_exceeded")
        await ben.upload("a", b"x" * 100)
        assert (await ben.json("POST", json={"name": "b", "bytes": 50}))[0] == 201
        assert (await ann.json("POST", json={"name": "b", "bytes": 1}))[1]["code"] == "quota_exceeded"
        _, begun = await ben.json("GET", "/nothing/upload")
        assert begun["code"] == "not_found"


async def test_more_than_was_announced_is_refused() -> None:
    async with clients() as those:
        ann = Sender(those, await those.join())
        _, begun = await ann.json("POST", json={"name": "a", "bytes": 3})
        path = f"/{begun['id']}"
        assert (await ann.json("PATCH", path, params={"offset": 0}, data=b"xxxx"))[0] == 413
        assert (await ann.json("PATCH", path, params={"offset": "x"}, data=b"x"))[0] == 400
        too_much = b"x" * (uploads.CHUNK_BYTES + 1)
        assert (await ann.json("PATCH", path, params={"offset": 0}, data=io.BytesIO(too_much)))[0] == 413
        assert (await ann.json("PATCH", path, params={"offset": 0}, data=b"xxx"))[0] == 200


async def test_the_same_content_is_kept_once(tmp_path: Path) -> None:
    async with clients(keeping(tmp_path)) as those:
        ann = Sender(those, await those.join())
        first, second = [await ann.upload(name, b"same") for name in ("a.txt", "b.txt")]
        assert first["id"] != second["id"]
    assert len(_contents(tmp_path)) == 1


def _contents(folder: Path) -> list[Path]:
    return [path for path in (folder / "files").rglob("*") if path.is_file()]
