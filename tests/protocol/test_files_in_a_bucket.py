"""Files in an S3-compatible bucket: the same doors, another place."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer
from PIL import Image
from signalling import clients, local_config
from test_files_live import Sender, picture

from sfu.config import Config, ServerConfig, StorageConfig
from sfu.errors import ConfigError, RequestError, StartError
from sfu.server import contents as contents_module
from sfu.server.contents import open_contents

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:(botocore|moto|werkzeug).*")


class Bucket:
    """An S3 store with one bucket, `kept`, seen as its operator sees it."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self._client: Any = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id="k",
            aws_secret_access_key="s",
        )
        self._client.create_bucket(Bucket="kept")

    def keys(self) -> list[str]:
        return sorted(each["Key"] for each in self._client.list_objects_v2(Bucket="kept").get("Contents", []))

    def empty(self) -> None:
        for key in self.keys():
            self._client.delete_object(Bucket="kept", Key=key)


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    made = Bucket(f"http://{host}:{port}")
    try:
        yield made
    finally:
        made.empty()
        made._client.close()
        server.stop()


def storage(bucket: Bucket, files: str = "s3://kept/calls") -> StorageConfig:
    return StorageConfig(files=files, s3_endpoint=bucket.endpoint, s3_key="k", s3_secret="s")


def keeping(folder: Path, bucket: Bucket) -> Config:
    server = ServerConfig(host="127.0.0.1", port=0, https_port=-1, data_dir=str(folder))
    return local_config(server=server, storage=storage(bucket))


async def test_files_go_into_the_bucket_and_come_back_after_a_restart(tmp_path: Path, bucket: Bucket) -> None:
    content = picture()
    async with clients(keeping(tmp_path, bucket)) as those:
        ann = await those.join()
        file = await Sender(those, ann).upload("sky.png", content)
        await ann.request("chat", text="", file=file["id"])
        assert (file["width"], file["height"]) == (900, 600)
    content_key, small_key, owner_key = bucket.keys()
    assert owner_key == "calls/database.id"
    assert content_key.startswith("calls/")
    assert small_key == content_key + ".jpg"
    assert not [path for path in (tmp_path / "uploads").rglob("*") if path.is_file()]
    async with clients(keeping(tmp_path, bucket)) as those:
        ben = Sender(those, await those.join(name="Ben"))
        answer = await ben.ask("GET", f"/{file['id']}")
        assert await answer.read() == content
        assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
        assert answer.headers["Content-Type"] == "image/png"
        small = await ben.ask("GET", f"/{file['id']}/thumbnail")
        assert Image.open(io.BytesIO(await small.read())).size == (480, 320)


async def test_a_range_of_a_file_is_sent(tmp_path: Path, bucket: Bucket) -> None:
    async with clients(keeping(tmp_path, bucket)) as those:
        ann = await those.join()
        file = await Sender(those, ann).upload("a.txt", b"hello world")
        url = f"{those.server.http_url}/api/v1/rooms/r/files/{file['id']}"
        headers = {"Authorization": f"Participant {ann.me}:{ann.joined['secret']}"}
        async with those.http.get(url, headers=headers | {"Range": "bytes=6-"}) as answer:
            assert (answer.status, await answer.read()) == (206, b"world")
            assert answer.headers["Content-Range"] == "bytes 6-10/11"
        async with those.http.get(url, headers=headers | {"Range": "bytes=99-"}) as answer:
            assert (answer.status, (await answer.json())["error"]["code"]) == (400, "bad_request")


async def test_what_is_gone_from_the_bucket_is_not_found(tmp_path: Path, bucket: Bucket) -> None:
    async with clients(keeping(tmp_path, bucket)) as those:
        ann = Sender(those, await those.join())
        file = await ann.upload("a.txt", b"hello")
        bucket.empty()
        status, refused = await ann.json("GET", f"/{file['id']}")
        assert (status, refused["code"]) == (404, "not_found")


async def test_a_bucket_that_fails_loses_nothing(
    tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with clients(keeping(tmp_path, bucket)) as those:
        ann = Sender(those, await those.join())
        _, begun = await ann.json("POST", json={"name": "a.txt", "bytes": 5})
        path = f"/{begun['id']}"
        bucket.empty()
        bucket._client.delete_bucket(Bucket="kept")
        status, refused = await ann.json("PATCH", path, params={"offset": 0}, data=b"hello")
        assert (status, refused["code"]) == (503, "storage_failed")
        bucket._client.create_bucket(Bucket="kept")
        status, done = await ann.json("PATCH", path, params={"offset": 0}, data=b"hello")
        assert (status, done["file"]["bytes"]) == (200, 5)
        assert await (await ann.ask("GET", path)).read() == b"hello"


async def test_contents_are_removed(tmp_path: Path, bucket: Bucket) -> None:
    async with open_contents(storage(bucket, "s3://kept"), tmp_path) as contents:
        one, two = "1" * 64, "2" * 64
        for name in (one, two, "another's"):
            path, small = tmp_path / name, tmp_path / f"{name}.jpg"
            path.write_text(name)
            small.write_text(name)
            await contents.keep(name, path, small)
        assert await contents.hashes() == {one, two}
        await contents.save(two, tmp_path / "saved")
        assert (tmp_path / "saved").read_text() == two
        with pytest.raises(RequestError, match="not_found"):
            await contents.save("never", tmp_path / "saved")
        await contents.remove([one, "never"])
        assert await contents.hashes() == {two}
    assert bucket.keys() == [two, f"{two}.jpg", "another's", "another's.jpg"]


@pytest.mark.parametrize("answer", [None, b"", b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n"])
async def test_a_store_that_is_away_is_tried_again_later(
    answer: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents_module, "TRIES", 1)

    async def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer or b"")
        writer.close()

    store = await asyncio.start_server(answered, "127.0.0.1", 0)
    endpoint = f"http://127.0.0.1:{store.sockets[0].getsockname()[1]}"
    if answer is None:
        store.close()
    config = StorageConfig(files="s3://kept", s3_endpoint=endpoint, s3_key="k", s3_secret="s")
    with pytest.raises(StartError, match=r"storage\.files: the bucket kept") as refused:
        async with open_contents(config, tmp_path):
            pass
    assert refused.value.status == os.EX_TEMPFAIL
    store.close()


async def test_a_store_that_lets_nobody_in_is_a_matter_of_configuration(tmp_path: Path) -> None:
    async def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answered, "127.0.0.1", 0) as store:
        endpoint = f"http://127.0.0.1:{store.sockets[0].getsockname()[1]}"
        config = StorageConfig(files="s3://kept", s3_endpoint=endpoint, s3_key="k", s3_secret="s")
        with pytest.raises(ConfigError, match=r"storage\.files: the bucket kept"):
            async with open_contents(config, tmp_path):
                pass


async def test_a_bucket_that_is_not_there_stops_the_start(tmp_path: Path, bucket: Bucket) -> None:
    with pytest.raises(ConfigError, match="the bucket other"):
        async with open_contents(storage(bucket, "s3://other"), tmp_path):
            pass
