"""The options that every command which reads the configuration shares."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from sfu.config import Config
from sfu.errors import ConfigError
from sfu.loading import load as loading


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


def load(args: argparse.Namespace) -> Config:
    """The effective configuration of this process; raises `ConfigError`."""
    overrides = {}
    for item in args.set:
        name, equals, value = item.partition("=")
        if not equals:
            raise ConfigError([f"--set {item}: expected SECTION.KEY=VALUE"])
        overrides[name] = value
    return loading.load(_file(args.config), os.environ, overrides)


def _file(given: str | None) -> str:
    """The text of the configuration file, empty without one."""
    path = os.environ.get("SFU_CONFIG") if given is None else given
    if path is None:
        return ""
    if not path:
        # A file that is not read opens what it protects.
        raise ConfigError(
            [f"{'SFU_CONFIG' if given is None else '--config'} is empty: name a file, or leave it out"]
        )
    try:
        # Editors of Windows put a byte order mark before UTF-8.
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: not UTF-8, which TOML files are"]) from None
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from error
