from typing import Any

from sfu_client import events
from sfu_client.chat import ChatMemory
from sfu_client.model import ChatMessage


def message(number: int, rev: int = 0, text: str = "x") -> dict[str, Any]:
    return {"id": number, "rev": rev or number, "from": "PA_a", "name": "A", "text": text, "sent_at_ms": 1}


def joined(last: int, *chat: dict[str, Any], after: int | None = None) -> dict[str, Any]:
    return {"chat": list(chat), "chat_last": last, "chat_after": after}


def test_the_first_join_is_history_and_no_news() -> None:
    memory = ChatMemory()
    assert memory.seen is None
    assert memory.joined(joined(5, message(3), message(5))) == []
    assert memory.seen == 5
    assert [each.id for each in memory.messages()] == [3, 5]


def test_what_was_missed_is_news_once() -> None:
    memory = ChatMemory()
    memory.joined(joined(2, message(1), message(2)))
    missed = memory.joined(joined(4, message(1, 4, "edited"), message(3), after=2))
    assert [(type(event), event.message.id) for event in missed] == [
        (events.ChatUpdated, 1),
        (events.ChatReceived, 3),
    ]
    assert [each.text for each in memory.messages()] == ["edited", "x", "x"]
    assert memory.joined(joined(4, message(3), after=3)) == []
    assert memory.seen == 4


def test_where_too_much_was_missed_it_begins_anew() -> None:
    memory = ChatMemory()
    memory.joined(joined(2, message(1), message(2)))
    missed = memory.joined(joined(900, message(899), message(900)))
    assert [event.message.id for event in missed] == [899, 900]
    assert [each.id for each in memory.messages()] == [899, 900]


def test_an_older_state_changes_nothing() -> None:
    memory = ChatMemory()
    memory.joined(joined(3, message(1, 3, "new")))
    assert memory.take(ChatMessage.parse(message(1, 2, "old"))) is None
    assert [each.text for each in memory.messages()] == ["new"]
