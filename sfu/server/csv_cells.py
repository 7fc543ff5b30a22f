"""Cells of reports that people open as spreadsheets."""

from __future__ import annotations


def cell(text: str) -> str:
    """Spreadsheets take what begins so for a formula, and strangers choose their names."""
    return "'" + text if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
