"""What is to be delivered to webhooks: kept until it is, over restarts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from sqlalchemy import bindparam, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from sfu.store.tables import outbox
from sfu.store.writes import Step

_INSERT = insert(outbox)
_DELETE = delete(outbox).where(outbox.c.number == bindparam("of_number"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One event for one URL. `number` is the order of delivery."""

    number: int
    url: str
    event: str
    body: str
    at_ms: int


def added(delivery: Delivery) -> list[Step]:
    return [(_INSERT, asdict(delivery))]


def removed(number: int) -> list[Step]:
    """Delivered, or given up."""
    return [(_DELETE, {"of_number": number})]


async def waiting(connection: AsyncConnection) -> list[Delivery]:
    """Everything that waits, in order."""
    rows = await connection.execute(select(outbox).order_by(outbox.c.number))
    return [Delivery(**row._mapping) for row in rows]


async def keep_only(connection: AsyncConnection, urls: Iterable[str]) -> int:
    """Forget what waits for URLs that are configured no more; how many that were."""
    return (await connection.execute(delete(outbox).where(outbox.c.url.not_in(list(urls))))).rowcount
