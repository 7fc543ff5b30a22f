"""Decodes one picture of a stranger and makes a small one of it, in a process that the server can kill.

Standard input is the picture's file. Standard output is one line with its width and height, as soon as they
are known, and then a JPEG. Nothing is written for what is no picture; no JPEG for what is too large. The
file is run by its path and imports nothing of the server, so it starts soon and has no secrets to lose.
"""

from __future__ import annotations

import contextlib
import io
import os
import resource
import sys
from typing import IO

CPU_S = 5
"""Processor time of one picture: a phone's largest takes a fifth of it."""
MEMORY_BYTES = 768 * 1024 * 1024
"""Address space of the process, the interpreter and its libraries included."""
MAX_PIXELS = 40_000_000
"""Larger pictures get no thumbnail."""
MAX_DECODED = 16_000_000
"""Nor do those of which more pixels have to be decoded: four bytes each, twice while it is made smaller."""
SIZE = (480, 480)
"""The largest thumbnail, pixels."""
NICE = 10
"""Calls come first."""


def limit() -> None:
    """Limit what this process may use, and let it be the first to go when memory runs out."""
    for what, most in (
        (resource.RLIMIT_CPU, CPU_S),
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        # A system without this limit, or with a lower one, keeps its own.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(what, (most, most))
    os.nice(NICE)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")


def make(source: IO[bytes], target: IO[bytes]) -> None:
    """Write the size of the picture in `source` to `target`, and its thumbnail. Raises what Pillow does."""
    from PIL import Image, ImageOps

    with Image.open(source, formats=("PNG", "JPEG", "GIF", "WEBP")) as picture:
        target.write(b"%d %d\n" % picture.size)
        target.flush()
        if picture.width * picture.height > MAX_PIXELS:
            return
        # A JPEG is decoded smaller at once, unless it is progressive: that one is held whole.
        if "progressive" not in picture.info:
            picture.draft("RGB", SIZE)
        if picture.width * picture.height > MAX_DECODED:
            return
        # Smaller first: turning it copies it.
        picture.thumbnail(SIZE)
        small = io.BytesIO()
        ImageOps.exif_transpose(picture).convert("RGB").save(small, "JPEG", quality=82)
        target.write(small.getvalue())


def main() -> None:
    limit()
    try:
        make(sys.stdin.buffer, sys.stdout.buffer)
    except Exception:
        # Pillow raises whatever comes of reading nonsense.
        sys.exit(1)


if __name__ == "__main__":
    main()
