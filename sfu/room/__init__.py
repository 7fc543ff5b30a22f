"""Rooms, sans-IO: commands in, effects out."""
