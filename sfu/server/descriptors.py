"""How many files and connections the system lets this process have open."""

from __future__ import annotations

import contextlib
import resource

USUAL_MOST = 10_240
"""What macOS allows where it says that there is no limit."""
KEPT_BACK = 4
"""One in so many is kept back for the database, files, media over TCP and whatever else opens one."""


def raise_limit() -> None:
    """Take all that the system would give: what a shell starts with is too few for a school."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (hard, USUAL_MOST):
        if wanted != resource.RLIM_INFINITY and wanted > soft:
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
                return


def connections() -> int:
    """How many connections may be open at once."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        soft = USUAL_MOST
    return max(1, soft - soft // KEPT_BACK)
