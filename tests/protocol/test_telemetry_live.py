"""Telemetry over real WebSockets: seen live, stored, exported, refused."""

from __future__ import annotations

import asyncio
import csv
import io
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from signalling import Clients, Signal, clients, local_config, serving, until
from test_access import error, guarded, member

from sfu.config import MAX_SAMPLES, LimitsConfig, RoomConfig, StorageConfig
from sfu_client import Room, Series, events

PULSE = {"name": "pulse", "title": "Pulse", "unit": "1/min", "low": 50, "high": 120, "hysteresis": 5}


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def declared(who: Signal) -> None:
    assert (await who.request("telemetry_declare", series=[PULSE]))["type"] == "ok"


async def test_a_device_is_watched_live_and_by_late_joiners() -> None:
    async with clients() as those:
        ann, cam = await those.join(), await those.join(name="Cam", role="device")
        await declared(cam)
        told = await ann.next("telemetry_series")
        assert (told["participant"], told["series"][0]["unit"]) == (cam.me, "1/min")
        at_ms = now_ms()
        samples = [["pulse", at_ms - 1000, 72], ["pulse", at_ms, 130.5]]
        assert (await cam.request("telemetry", samples=samples))["type"] == "ok"
        live = await ann.next("telemetry")
        assert live["samples"] == samples
        assert abs(live["received_at_ms"] - at_ms) < 5000
        alarm = (await ann.next("alarm"))["alarm"]
        assert (alarm["participant"], alarm["state"], alarm["limit"], alarm["by"]) == (
            cam.me,
            "raised",
            120,
            None,
        )
        ben = await those.join(name="Ben")
        (late,) = ben.joined["class"]["telemetry"]
        assert late["samples"] == [each[1:] for each in samples]
        assert late["alarm"]["state"] == "raised"
        acknowledged = await ann.request("alarm_acknowledge", participant=cam.me, series="pulse")
        assert acknowledged["type"] == "ok"
        alarm = (await ben.next("alarm"))["alarm"]
        assert (alarm["state"], alarm["by"]) == ("acknowledged", ann.me)
        await ann.request("telemetry_thresholds", participant=cam.me, series="pulse", high=200)
        assert (await ben.next("telemetry_series"))["series"][0]["high"] == 200
        await cam.request("telemetry", samples=[["pulse", now_ms(), 140]])
        assert (await ben.next("alarm"))["alarm"]["state"] == "cleared"
        await cam.request("leave")
        cat = await those.join(name="Cat")
        assert cat.joined["class"]["telemetry"] == []


async def test_a_device_that_falls_silent_is_an_alarm_and_so_is_its_loss() -> None:
    async with clients(local_config(room=RoomConfig(grace_s=2))) as those:
        ann, cam = await those.join(), await those.join(name="Cam", role="device")
        told: list[Any] = []
        those.server._conference.events.listen(told.append)

        async def alarm() -> tuple[Any, ...]:
            found = (await ann.next("alarm"))["alarm"]
            return tuple(found[name] for name in ("state", "side", "value", "reason"))

        await cam.request("telemetry_declare", series=[{**PULSE, "silent_s": 1}])
        assert await alarm() == ("raised", "silent", None, None)
        ben = await those.join(name="Ben")
        assert ben.joined["class"]["telemetry"][0]["alarm"]["side"] == "silent"
        await cam.request("telemetry", samples=[["pulse", now_ms(), 72]])
        assert await alarm() == ("cleared", "silent", 72, None)
        await cam.drop()
        assert await alarm() == ("raised", "silent", 72, None)
        assert await alarm() == ("ended", "silent", 72, "timeout")
        assert (await ann.next("participant_left"))["participant"] == cam.me
        alarms = [each.data["alarm"]["state"] for each in told if each.type == "alarm"]
        assert alarms == ["raised", "cleared", "raised", "ended"]


async def test_an_alarm_that_stands_ends_when_its_device_leaves() -> None:
    async with clients() as those:
        ann, cam = await those.join(), await those.join(name="Cam", role="device")
        await declared(cam)
        await cam.request("telemetry", samples=[["pulse", now_ms(), 130]])
        await cam.request("leave")
        alarms = [(await ann.next("alarm"))["alarm"] for _ in range(2)]
        assert [(each["state"], each["reason"]) for each in alarms] == [("raised", None), ("ended", "left")]


async def test_thresholds_outlast_the_device_and_the_server(tmp_path: Path) -> None:
    storage = StorageConfig(url=f"sqlite:///{tmp_path}/sfu.db")
    config = replace(guarded(), storage=storage)
    async with clients(config) as those:
        ann = await member(those, "ann", role="owner")
        cam = await member(those, "cam", role="device")
        await declared(cam)
        await cam.request("telemetry", samples=[["pulse", now_ms(), 90]])
        target = {"participant": cam.me, "series": "pulse"}
        assert (await ann.request("telemetry_thresholds", **target, high=80))["type"] == "ok"
        raised = (await ann.next("alarm"))["alarm"]
        assert (raised["state"], raised["limit"], raised["value"]) == ("raised", 80, 90)
    async with clients(config) as those:
        ann = await member(those, "ann", role="owner")
        for _ in range(2):
            cam = await member(those, "cam", role="device")
            await declared(cam)
            told = (await ann.next("telemetry_series"))["series"][0]
            assert (told["low"], told["high"], told["title"]) == (None, 80, "Pulse")
            await cam.request("leave")


async def test_limits_are_set_from_python() -> None:
    async with (
        serving() as server,
        Room.connect(server.http_url, "r", name="Nurse") as nurse,
        Room.connect(server.http_url, "r", name="Cam", role="device", auto_subscribe=False) as device,
    ):
        told = nurse.events()
        await device.telemetry.declare(Series(name="pulse", high=120))
        await device.telemetry.send({"pulse": 100})
        await nurse.telemetry.set_thresholds(device.me.id, "pulse", low=None, high=90)
        await nurse.telemetry.acknowledge(device.me.id, "pulse")
        states: list[str] = []
        async with asyncio.timeout(5):
            while len(states) < 2:
                if isinstance(event := await anext(told), events.AlarmChanged):
                    states.append(event.alarm.state)
        assert states == ["raised", "acknowledged"]


async def test_rights_are_asked_for() -> None:
    async with clients(guarded()) as those:
        await member(those, "ann", role="owner")
        cam, mute = (
            await member(those, "cam", role="device"),
            await member(those, "mute", role="device", data=False),
        )
        await declared(cam)
        assert error(await mute.request("telemetry_declare", series=[PULSE])) == "not_allowed"
        assert error(await mute.request("telemetry", samples=[["pulse", now_ms(), 1]])) == "not_allowed"
        target = {"participant": cam.me, "series": "pulse"}
        assert error(await cam.request("alarm_acknowledge", **target)) == "not_allowed"
        assert error(await cam.request("telemetry_thresholds", **target, high=1)) == "not_allowed"


@pytest.mark.parametrize(
    ("kind", "members", "code"),
    [
        ("telemetry", {"samples": [["unknown", 0, 1]]}, "not_found"),
        ("telemetry", {"samples": [["pulse", 5, 1]]}, "bad_request"),
        ("telemetry", {"samples": []}, "bad_request"),
        ("telemetry", {"samples": [["pulse", 0, True]]}, "bad_request"),
        ("telemetry", {"samples": [["pulse", 0]]}, "bad_request"),
        ("telemetry", {"samples": [["pulse", 0, 1e300]]}, "bad_request"),
        ("telemetry", {"samples": [["pulse", 0, 1]] * (MAX_SAMPLES + 1)}, "bad_request"),
        ("telemetry_declare", {"series": []}, "bad_request"),
        ("telemetry_declare", {"series": [{**PULSE, "low": 130}]}, "bad_request"),
        ("telemetry_declare", {"series": [{**PULSE, "name": "a\nb"}]}, "bad_request"),
        ("telemetry_declare", {"series": [{**PULSE, "hysteresis": -1}]}, "bad_request"),
        ("telemetry_declare", {"series": [{**PULSE, "silent_s": 0.5}]}, "bad_request"),
        ("telemetry_declare", {"series": [{**PULSE, "silent_s": 86_401}]}, "bad_request"),
        ("telemetry_declare", {"series": [{"name": str(number)} for number in range(32)]}, "too_large"),
        ("alarm_acknowledge", {"participant": "PA_no", "series": "pulse"}, "not_found"),
    ],
)
async def test_bad_telemetry_is_refused(kind: str, members: dict[str, Any], code: str) -> None:
    async with clients() as those:
        ann = await those.join()
        await declared(ann)
        assert error(await ann.request(kind, **members)) == code


async def get(those: Clients, who: Signal, path: str, **query: Any) -> Any:
    url = f"{those.server.http_url}/api/v1/rooms/r/{path}"
    headers = {"Authorization": f"Participant {who.me}:{who.joined['secret']}"}
    params = {name: str(value) for name, value in query.items()}
    async with those.http.get(url, params=params, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json() if answer.content_type == "application/json" else await answer.text()


async def test_what_was_measured_is_stored_summed_up_and_exported(tmp_path: Path) -> None:
    config = local_config(storage=StorageConfig(url=f"sqlite:///{tmp_path}/sfu.db"))
    start_ms = now_ms() - 10_000
    async with clients(config) as those:
        cam = await those.join(name="Cam")
        await declared(cam)
        for first in range(0, 2500, 500):
            batch = [["pulse", start_ms + number, 60 + number % 10] for number in range(first, first + 500)]
            assert (await cam.request("telemetry", samples=batch))["type"] == "ok"
    async with clients(config) as those:
        ann = await those.join()
        text = await get(those, ann, "telemetry.csv")
        rows = list(csv.reader(io.StringIO(text.removeprefix("\ufeff"))))
        assert rows[0] == ["time", "identity", "series", "value", "unit"]
        assert len(rows) == 2501
        assert [float(row[3]) for row in rows[1:11]] == [60 + number for number in range(10)]
        assert rows[1][4] == "1/min"
        (identity,) = {row[1] for row in rows[1:]}
        summed = (await get(those, ann, "telemetry", identity=identity, step_ms=86_400_000))["steps"]
        assert sum(each["count"] for each in summed) == 2500
        assert (summed[-1]["min"], summed[-1]["max"]) == (60, 69)
        some = await get(those, ann, "telemetry.csv", series="pulse", from_ms=start_ms, to_ms=start_ms + 10)
        assert len(some.splitlines()) == 11
        assert (await get(those, ann, "telemetry", series="other"))["steps"] == []


async def test_a_flood_is_refused_and_what_is_sent_again_at_the_allowed_pace_is_stored_once() -> None:
    limits = LimitsConfig(telemetry_samples_per_s=2000, telemetry_burst=500)
    async with clients(local_config(limits=limits)) as those:
        cam = await those.join(name="Cam")
        await declared(cam)
        start_ms = now_ms() - 1000
        batch = [["pulse", start_ms + number, 70] for number in range(500)]
        assert (await cam.request("telemetry", samples=batch))["type"] == "ok"
        refused = await cam.request("telemetry", samples=batch)
        assert error(refused) == "rate_limited"
        assert 0 < refused["retry_after_ms"] <= 250
        await asyncio.sleep(refused["retry_after_ms"] / 1000)
        assert (await cam.request("telemetry", samples=batch))["type"] == "ok"
        steps = (await get(those, cam, "telemetry", step_ms=86_400_000))["steps"]
        assert sum(each["count"] for each in steps) == 500


async def test_an_alarm_is_written_down(tmp_path: Path) -> None:
    async with clients() as those:
        ann, cam = await those.join(), await those.join(name="Cam")
        await declared(cam)
        told: list[Any] = []
        those.server._conference.events.listen(told.append)
        await cam.request("telemetry", samples=[["pulse", now_ms(), 130]])
        await ann.next("alarm")
        await until(lambda: told)
        (event,) = told
        assert (event.type, event.data["name"], event.data["alarm"]["value"]) == ("alarm", "Cam", 130)
