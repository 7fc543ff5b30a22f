"""Take secrets out of the command line, which every user of the machine can read.

The process starts itself anew, with its process id, and with its secrets in the environment, which only its
own user can read. Those who want no moment in between put them there, or into a file, themselves.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import MutableMapping, Sequence

from sfu.faults import words
from sfu.loading.keys import keys
from sfu.loading.show import MASK, without_secrets

VARIABLE = "SFU_ARGUMENTS"
"""The real arguments of a process that has started itself anew."""
_TOKEN, _SET = "--token", "--set"


def masked(arguments: Sequence[str]) -> list[str]:
    """The arguments as everybody may see them; the same where none is secret."""
    secret = {key.name for key in keys() if key.secret}
    shown: list[str] = []
    option = ""
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if option:
            shown.append(_masked(option, argument, secret))
            option = ""
        elif equals and _is_option(name):
            shown.append(f"{name}={_masked(name, value, secret)}")
        else:
            option = argument if _is_option(argument) else ""
            long = f"{name}=" if equals and name.startswith("-") else ""
            shown.append(long + without_secrets(argument.removeprefix(long)))
    return shown


def given(arguments: Sequence[str], environ: MutableMapping[str, str]) -> list[str]:
    """The real arguments of this process; starts it anew where some of them are secret."""
    if (kept := environ.pop(VARIABLE, None)) is not None:
        return [str(each) for each in json.loads(kept)]
    shown = masked(arguments)
    before = sys.orig_argv[: len(sys.orig_argv) - len(arguments)]
    typed = list(arguments)
    if shown != typed and sys.executable and sys.orig_argv[len(before) :] == typed:
        try:
            os.execve(sys.executable, [*before, *shown], {**environ, VARIABLE: json.dumps(typed)})
        except OSError as error:
            # A unit may forbid it (NoExecPaths=), and what was asked for can be done all the same.
            text = f"secrets stay in the list of processes: {sys.executable}: {words(error)}"
            print(f"sfu: {text}", file=sys.stderr)
    return typed


def _is_option(argument: str) -> bool:
    """Whether it is one whose value may be secret; options may be shortened."""
    return any(len(argument) > 3 and name.startswith(argument) for name in (_TOKEN, _SET))


def _masked(option: str, value: str, secret: set[str]) -> str:
    if _TOKEN.startswith(option):
        return MASK
    key, equals, given_value = value.partition("=")
    return f"{key}{equals}{MASK if key in secret else without_secrets(given_value)}"
