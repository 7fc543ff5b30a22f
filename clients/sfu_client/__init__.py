"""The Python client: join a room, publish arrays, iterate the frames of others. See docs/clients.md."""

from sfu_client import events
from sfu_client.adaptation import SentEncoding
from sfu_client.errors import ClientError, ClosedError, RefusedError, UnavailableError
from sfu_client.events import Event, EventStream
from sfu_client.files import FileInfo
from sfu_client.model import ChatMessage, Participant, Publication
from sfu_client.publish import LocalPublication
from sfu_client.quality import Layer, SubscriptionQuality
from sfu_client.room import Room
from sfu_client.sources import AudioSource, VideoSource
from sfu_client.telemetry import Alarm, Sample, Series, Telemetry
from sfu_client.tracks import FrameStream, RemoteTrack

__all__ = [
    "Alarm",
    "AudioSource",
    "ChatMessage",
    "ClientError",
    "ClosedError",
    "Event",
    "EventStream",
    "FileInfo",
    "FrameStream",
    "Layer",
    "LocalPublication",
    "Participant",
    "Publication",
    "RefusedError",
    "RemoteTrack",
    "Room",
    "Sample",
    "SentEncoding",
    "Series",
    "SubscriptionQuality",
    "Telemetry",
    "UnavailableError",
    "VideoSource",
    "events",
]
