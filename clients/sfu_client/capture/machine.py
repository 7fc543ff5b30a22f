"""What a machine without sensors can measure: its own load, memory and temperature. Linux."""

from __future__ import annotations

import os
from pathlib import Path

from sfu_client.telemetry import Series

_THERMAL = Path("/sys/class/thermal")
_MEMORY = Path("/proc/meminfo")

LOAD = Series(name="load", title="Load of a core", unit="%", high=95, hysteresis=10)
MEMORY = Series(name="memory", title="Memory in use", unit="%", high=95, hysteresis=5)
TEMPERATURE = Series(name="temperature", title="Temperature", unit="°C", high=80, hysteresis=5)


def measure() -> dict[str, float]:
    """Each value there is, by its series' name."""
    values = {"load": round(100 * os.getloadavg()[0] / (os.cpu_count() or 1), 1)}
    if (memory := _memory()) is not None:
        values["memory"] = memory
    if (temperature := _temperature()) is not None:
        values["temperature"] = temperature
    return values


def series() -> list[Series]:
    """What `measure` gives on this machine."""
    there = measure()
    return [each for each in (LOAD, MEMORY, TEMPERATURE) if each.name in there]


def _memory() -> float | None:
    try:
        fields = dict(line.split(":", 1) for line in _MEMORY.read_text().splitlines())
        total, free = (int(fields[name].split()[0]) for name in ("MemTotal", "MemAvailable"))
    except (OSError, ValueError, KeyError):
        return None
    return round(100 * (total - free) / total, 1)


def _temperature() -> float | None:
    """The hottest zone."""
    found = []
    for zone in sorted(_THERMAL.glob("thermal_zone*/temp")):
        try:
            found.append(int(zone.read_text()) / 1000)
        except (OSError, ValueError):
            continue
    return max(found, default=None)
