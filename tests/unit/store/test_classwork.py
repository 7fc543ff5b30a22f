from stored import poll, question, stroke
from test_people import written

from sfu.store import classwork, retention
from sfu.store.store import Store


async def test_questions_and_polls_are_read_as_they_were_left(store: Store) -> None:
    asked = question(1, "ann", voters=("ann",), name="Ann")
    await written(
        store,
        classwork.asked(asked),
        classwork.voted("r", 1, "ben", 5, on=True),
        classwork.voted("r", 1, "ben", 6, on=True),
        classwork.asked(question(2, "ben", voters=("ben",))),
        classwork.voted("r", 2, "ben", 7, on=False),
        classwork.answered("r", 2, 8, "So it is"),
        classwork.asked(question(3, "ben", voters=("ben",))),
        classwork.question_dropped("r", 3),
        classwork.opened(poll(1, "ann", multiple=True)),
        classwork.cast("r", 1, "ben", (0,), 9),
        classwork.cast("r", 1, "ben", (0, 1), 10),
        classwork.cast("r", 1, "cid", (0,), 9),
        classwork.cast("r", 1, "cid", (), 10),
        classwork.closed("r", 1, 11),
        classwork.opened(poll(2, "ann")),
        classwork.cast("r", 2, "ben", (0,), 9),
        classwork.poll_dropped("r", 2),
    )
    async with store.reading() as connection:
        first, second = await classwork.questions_of(connection, "r")
        assert first == question(1, "ann", voters=("ann", "ben"), name="Ann")
        assert (second.voters, second.answered_ms, second.answer) == ((), 8, "So it is")
        (only,) = await classwork.polls_of(connection, "r")
        assert only == poll(1, "ann", multiple=True, closed_ms=11, ballots={"ben": (0, 1)})
        assert await classwork.questions_of(connection, "elsewhere") == []


async def test_the_whiteboard_keeps_the_order_of_drawing(store: Store) -> None:
    longer = stroke("a", "ann", number=1, points=(0, 0, 9, 9, 5, 5))
    await written(
        store,
        classwork.drawn("r", (), (stroke("b", "ben", number=2), stroke("a", "ann", number=1))),
        classwork.drawn("r", ("b",), (longer, stroke("c", "ben", number=3))),
        classwork.taken("r", {"ann": 1}, 1),
        classwork.taken("r", {"ann": 2, "ben": 1}, 2),
    )
    async with store.reading() as connection:
        assert await classwork.strokes_of(connection, "r") == [longer, stroke("c", "ben", number=3)]
        assert await classwork.turns_of(connection, "r") == {"ann": 2, "ben": 1}
    await written(store, [*classwork.cleared("r"), *classwork.drawn("r", (), (stroke("d", "ann"),))])
    async with store.reading() as connection:
        assert [each.id for each in await classwork.strokes_of(connection, "r")] == ["d"]


async def test_retention_takes_votes_with_their_question(store: Store) -> None:
    await written(
        store,
        classwork.asked(question(1, "ann")),
        classwork.voted("r", 1, "ben", 100, on=True),
        classwork.asked(question(2, "ann", asked_ms=50, voters=("ann",))),
        classwork.opened(poll(1, "ann")),
        classwork.cast("r", 1, "ben", (0,), 100),
        classwork.drawn("r", (), (stroke("old", "ann"), stroke("new", "ann", at_ms=60))),
        classwork.taken("r", {"ann": 1}, 1),
    )
    await retention.expire(store, 50)
    # A question that gets the number of an old one begins without its votes.
    await written(store, classwork.asked(question(1, "ben")), classwork.opened(poll(1, "ben")))
    async with store.reading() as connection:
        assert await classwork.questions_of(connection, "r") == [
            question(1, "ben"), question(2, "ann", asked_ms=50, voters=("ann",)),
        ]  # fmt: skip
        assert await classwork.polls_of(connection, "r") == [poll(1, "ben")]
        assert [each.id for each in await classwork.strokes_of(connection, "r")] == ["new"]
        assert await classwork.turns_of(connection, "r") == {}


async def test_thresholds_are_there_as_they_were_set_last(store: Store) -> None:
    await written(
        store,
        classwork.thresholds_set("r", "cam", "pulse", 50, 120, 1),
        classwork.thresholds_set("r", "cam", "pulse", None, 90.5, 2),
        classwork.thresholds_set("r", "cam", "pressure", None, None, 3),
        classwork.thresholds_set("s", "cam", "pulse", 1, 2, 4),
    )
    async with store.reading() as connection:
        found = await classwork.thresholds_of(connection, "r")
    assert found == {("cam", "pulse"): (None, 90.5), ("cam", "pressure"): (None, None)}
