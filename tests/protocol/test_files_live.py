"""Files over HTTP, as docs/protocol.md has it."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import io
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from PIL import Image
from signalling import Clients, Signal, clients, local_config

from sfu.config import Config, LimitsConfig, ServerConfig, StorageConfig
from sfu.server import thumbnails, uploads
from sfu.server.contents import Folder, disk
from sfu.store import files
from sfu.store.writes import Writes


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


DOORS = ("", "/info", "/thumbnail")


async def test_a_file_is_as_private_as_its_message() -> None:
    """The owner of the room is a third person too, as it is for the message."""
    async with clients() as those:
        owner, ann, ben = [await those.join(name=name) for name in ("Owner", "Ann", "Ben")]
        mine, his, third = Sender(those, ann), Sender(those, ben), Sender(those, owner)
        file = await mine.upload("for ben.png", picture())
        for who in (his, third):
            assert [(await who.json("GET", f"/{file['id']}{door}"))[0] for door in DOORS] == [404] * 3
        await ann.request("chat", text="", to=ben.me, file=file["id"])
        for who, status in ((mine, 200), (his, 200), (third, 404)):
            assert [(await who.ask("GET", f"/{file['id']}{door}")).status for door in DOORS] == [status] * 3
        assert (await third.json("DELETE", f"/{file['id']}"))[1]["code"] == "not_found"
        assert (await third.json("GET"))[1]["files"] == []
        await ann.request("chat", text="now for all", file=file["id"])
        assert [(await third.ask("GET", f"/{file['id']}{door}")).status for door in DOORS] == [200] * 3
        assert (await third.json("GET"))[1]["files"] == [file]


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
        _, mine = await ben.json("POST", json={"name": "b", "bytes": 50})
        # What Ben has announced takes nobody's place in the room; what has come does.
        _, other = await ann.json("POST", json={"name": "b", "bytes": 50})
        assert (await ben.json("PATCH", f"/{mine['id']}", params={"offset": 0}, data=b"x" * 49))[0] == 200
        late = await ann.json("PATCH", f"/{other['id']}", params={"offset": 0}, data=b"xx")
        assert (late[0], late[1]["code"]) == (507, "quota_exceeded")
        # It is given up, for it can never be whole.
        assert (await ann.json("GET", f"/{other['id']}/upload"))[0] == 404
        assert (await ann.json("POST", json={"name": "b", "bytes": 2}))[1]["code"] == "quota_exceeded"
        assert (await ben.json("PATCH", f"/{mine['id']}", params={"offset": 49}, data=b"x"))[0] == 200
        _, begun = await ben.json("GET", "/nothing/upload")
        assert begun["code"] == "not_found"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
async def test_a_full_disk_refuses_and_what_came_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Wherever it is met: at the begin, at a chunk, at the whole file. Then the upload goes on."""

    def full(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    async with clients(keeping(tmp_path)) as those:
        ann = Sender(those, await those.join())
        with monkeypatch.context() as patched:
            patched.setattr(Path, "touch", full)
            refused = await ann.json("POST", json={"name": "a", "bytes": 6})
            assert (refused[0], refused[1]["code"]) == (503, "storage_failed")
        _, begun = await ann.json("POST", json={"name": "a", "bytes": 6})
        path = f"/{begun['id']}"
        assert (await ann.json("PATCH", path, params={"offset": 0}, data=b"abc"))[0] == 200
        for place, name in ((uploads, "_append"), (uploads, "_look"), (Folder, "_keep")):
            with monkeypatch.context() as patched:
                patched.setattr(place, name, full if place is uploads else _inside(disk, full))
                refused = await ann.json("PATCH", path, params={"offset": 3}, data=b"def")
                assert (refused[0], refused[1]["code"]) == (503, "storage_failed"), name
            assert (await ann.json("GET", path + "/upload"))[1]["offset"] == 3, name
        status, done = await ann.json("PATCH", path, params={"offset": 3}, data=b"def")
        assert (status, done["file"]["bytes"]) == (200, 6)
    assert len(_contents(tmp_path)) == 1


def _inside(context: Callable[[], AbstractContextManager[None]], do: Callable[..., None]) -> Any:
    def done(*arguments: object) -> None:
        with context():
            do()

    return done


async def test_who_sends_nothing_takes_no_place_in_a_room(tmp_path: Path) -> None:
    """As often as it joins: eleven guests announced the gigabyte of a room, and sent not a byte."""
    async with clients(keeping(tmp_path, room_bytes=100, person_bytes=100, file_bytes=100)) as those:
        for _ in range(11):
            guest = Sender(those, await those.join(name="Eve"))
            assert (await guest.json("POST", json={"name": "a", "bytes": 100}))[0] == 201
        await Sender(those, await those.join()).upload("homework", b"x" * 100)


async def test_joining_anew_gives_no_more_place_for_files(tmp_path: Path) -> None:
    limits = LimitsConfig(address_file_bytes_per_day=250)
    async with clients(replace(keeping(tmp_path, person_bytes=100), limits=limits)) as those:
        for name in ("Eve", "Eve again"):
            await Sender(those, await those.join(name=name)).upload("a", name.encode() + b"x" * 80)
        third = Sender(those, await those.join(room="r", name="and again"))
        refused = await third.json("POST", json={"name": "a", "bytes": 100})
        assert (refused[0], refused[1]["code"]) == (507, "quota_exceeded")


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


async def test_a_content_that_is_uploaded_while_it_is_deleted_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ben's upload comes between the row's end and the content's, and the other way round."""
    async with clients(keeping(tmp_path)) as those:
        ann, ben = [Sender(those, await those.join(name=name)) for name in ("Ann", "Ben")]
        for name, place in (("keep", Folder), ("remove", Folder), ("transact", Writes)):
            content = name.encode()
            first = await ann.upload("a", content)
            _, begun = await ben.json("POST", json={"name": "b", "bytes": len(content)})
            path, start = f"/{begun['id']}", {"offset": 0}
            waits = _held(monkeypatch, place, name)
            asking = [
                asyncio.create_task(ann.json("DELETE", f"/{first['id']}")),
                asyncio.create_task(ben.json("PATCH", path, params=start, data=content)),
            ]
            if name == "keep":
                asking.reverse()
            await asyncio.wait_for(waits.reached.wait(), 10)
            # The other one does what it can meanwhile, which must be nothing.
            await asyncio.wait(asking, timeout=0.5)
            waits.go_on.set()
            assert [status for status, _ in await asyncio.gather(*asking)] == [200, 200]
            monkeypatch.undo()
            assert (await ben.ask("GET", path)).status == 200, name


@dataclass
class _Held:
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)


def _held(monkeypatch: pytest.MonkeyPatch, of: type, name: str) -> _Held:
    """The next calls of a method do their work and then wait."""
    held, original = _Held(), getattr(of, name)

    async def waiting(self: Any, *arguments: Any) -> Any:
        done = await original(self, *arguments)
        held.reached.set()
        await held.go_on.wait()
        return done

    monkeypatch.setattr(of, name, waiting)
    return held


async def test_a_file_goes_with_the_last_message_that_shows_it(tmp_path: Path) -> None:
    async with clients(keeping(tmp_path, person_bytes=10)) as those:
        owner, ann = await those.join(name="Owner"), await those.join(name="Ann")
        mine = Sender(those, ann)
        file = await mine.upload("a.txt", b"0123456789")
        first, second = [(await ann.request("chat", text="", file=file["id"]))["message"] for _ in "ab"]
        await ann.request("chat_delete", message=first["id"])
        assert (await mine.ask("GET", f"/{file['id']}")).status == 200
        await owner.request("chat_delete", message=second["id"])
        deadline = asyncio.get_running_loop().time() + 10
        while (await mine.ask("GET", f"/{file['id']}")).status == 200:
            assert asyncio.get_running_loop().time() < deadline
        await mine.upload("b.txt", b"another 10")
    assert len(_contents(tmp_path)) == 1


async def test_contents_without_a_row_are_set_aside_at_the_next_start(tmp_path: Path) -> None:
    """As a server leaves them that is killed between the two."""
    async with clients(keeping(tmp_path)) as those:
        file = await Sender(those, await those.join()).upload("a.png", picture())
    kept = set(_contents(tmp_path))
    for name in ("ab" * 32, "ab" * 32 + ".jpg"):
        lost = tmp_path / "files" / "ab" / name
        lost.parent.mkdir(exist_ok=True)
        lost.write_bytes(b"x")
    another = tmp_path / "files" / "ab" / "notes.txt"
    another.write_bytes(b"not ours")
    async with clients(keeping(tmp_path)):
        deadline = asyncio.get_running_loop().time() + 10
        while lost.exists():
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.01)
    assert set(_contents(tmp_path)) == {*kept, another}, file
    aside = tmp_path / "files" / "aside"
    assert {path.name for path in aside.iterdir()} == {"ab" * 32, "ab" * 32 + ".jpg"}


async def test_an_upload_can_be_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_UPLOADS", 1)
    async with clients(keeping(tmp_path)) as those:
        ann, ben = [Sender(those, await those.join(name=name)) for name in ("Ann", "Ben")]
        for _ in range(3):
            status, begun = await ann.json("POST", json={"name": "a", "bytes": 3})
            assert status == 201
            path = f"/{begun['id']}"
            await ann.json("PATCH", path, params={"offset": 0}, data=b"x")
            assert (await ben.json("DELETE", path))[0] == 404
            assert await ann.json("DELETE", path) == (200, {})
            assert (await ann.json("DELETE", path))[0] == 404
            assert (await ann.json("PATCH", path, params={"offset": 1}, data=b"xx"))[0] == 404
        assert list((tmp_path / "uploads").iterdir()) == []


async def test_an_upload_that_is_whole_by_now_is_deleted_as_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with clients(keeping(tmp_path)) as those:
        ann = Sender(those, await those.join())
        _, begun = await ann.json("POST", json={"name": "a", "bytes": 3})
        held = _held(monkeypatch, Folder, "keep")
        path = f"/{begun['id']}"
        whole = asyncio.create_task(ann.json("PATCH", path, params={"offset": 0}, data=b"xxx"))
        await asyncio.wait_for(held.reached.wait(), 10)
        giving_up = asyncio.create_task(ann.json("DELETE", path))
        held.go_on.set()
        assert (await whole)[0] == 200
        assert await giving_up == (200, {})
        assert (await ann.json("GET", path + "/info"))[0] == 404
    assert _contents(tmp_path) == []


async def test_the_stop_of_the_server_does_not_wait_for_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is kept, without a thumbnail, and the upload answered."""
    begun = tmp_path / "begun"
    program = f"import time; open({str(begun)!r}, 'w').close(); time.sleep(600)"
    monkeypatch.setattr(thumbnails, "_COMMAND", (sys.executable, "-c", program))
    monkeypatch.setattr(thumbnails, "MAX_S", 600.0)
    async with clients(keeping(tmp_path / "data")) as those:
        sender = Sender(those, await those.join())
        uploading = asyncio.create_task(sender.upload("a.png", picture()))
        async with asyncio.timeout(30):
            while not await asyncio.to_thread(begun.exists):
                await asyncio.sleep(0.01)
        stopping = asyncio.create_task(those.server.stop("of the test"))
        assert (await uploading)["width"] is None
        await stopping
    assert len(_contents(tmp_path / "data")) == 1


async def test_uploads_that_begin_at_once_share_the_quota(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with clients(keeping(tmp_path, person_bytes=1000)) as those:
        ann = Sender(those, await those.join())
        body = {"name": "a", "bytes": 600}
        begun = await asyncio.gather(*(ann.json("POST", json=body) for _ in range(4)))
        assert sorted(status for status, _ in begun) == [201, 507, 507, 507]
        (upload,) = (answer["id"] for status, answer in begun if status == 201)
        # Whole, but not durable yet: its place is taken all the same.
        held, commit = _Held(), Writes._commit

        async def waits(self: Writes, batch: list[Any]) -> None:
            if any(step is files._INSERT for write in batch for step, _ in write.steps):
                held.reached.set()
                await held.go_on.wait()
            await commit(self, batch)

        monkeypatch.setattr(Writes, "_commit", waits)
        whole = ann.json("PATCH", f"/{upload}", params={"offset": 0}, data=b"x" * 600)
        finishing = asyncio.create_task(whole)
        await asyncio.wait_for(held.reached.wait(), 10)
        meanwhile = await ann.json("POST", json=body)
        held.go_on.set()
        assert (await finishing)[0] == 200
        assert meanwhile[1].get("code") == "quota_exceeded"
        assert (await ann.json("POST", json=body))[1]["code"] == "quota_exceeded"


def _contents(folder: Path) -> list[Path]:
    return [path for path in (folder / "files").glob("??/*") if path.is_file()]
