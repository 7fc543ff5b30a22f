"""A WebRTC media server: a selective forwarding unit with Python peers."""

__version__ = "0.1.0"
