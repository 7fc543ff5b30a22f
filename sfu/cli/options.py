"""The options that every command which reads the configuration shares."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from sfu import config
from sfu.errors import ConfigError


def add(parser: argparse.ArgumentParser) -> None:
    """Add `--config` and `--set`."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="TOML configuration file (or SFU_CONFIG in the environment)",
        default=None,
    )
    parser.add_argument(
        "--set",
        metavar="SECTION.KEY=VALUE",
        action="append",
        default=[],
        help="override one configuration key; may be repeated",
    )


def load(args: argparse.Namespace) -> config.Config:
    """The effective configuration of this process; raises `ConfigError`."""
    path = args.config or os.environ.get("SFU_CONFIG", "")
    try:
        toml = Path(path).read_text() if path else ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: {error}"]) from error
    overrides = {}
    for item in args.set:
        name, equals, value = item.partition("=")
        if not equals:
            raise ConfigError([f"--set {item}: expected SECTION.KEY=VALUE"])
        overrides[name] = value
    return config.load(toml, os.environ, overrides)
