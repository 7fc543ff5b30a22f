"""Hands, questions, polls, the whiteboard: their state and their limits."""

from __future__ import annotations

from typing import Any

import pytest
from test_moderation import entered
from test_rooms import World, refused, told

from sfu.errors import RequestError
from sfu.ids import ParticipantId, RoomName
from sfu.room import acts, board, commands, polls, questions
from sfu.room.board import Board, Stroke
from sfu.room.class_events import (
    Drawn,
    HandsChanged,
    PollChanged,
    PollRemoved,
    QuestionChanged,
    QuestionRemoved,
)
from sfu.room.effects import ClassToStore
from sfu.room.hands import Hands
from sfu.room.polls import Polls
from sfu.room.questions import Questions

ANN, BEN, CID = (ParticipantId(name) for name in ("PA_ann", "PA_ben", "PA_cid"))


def code(wrong: Any, *arguments: Any, **named: Any) -> str:
    with pytest.raises(RequestError) as caught:
        wrong(*arguments, **named)
    return caught.value.code


def test_hands_keep_their_order_and_turns_are_counted() -> None:
    hands = Hands()
    raised = [hands.raise_(who, who[3:], at) for at, who in enumerate((BEN, CID, BEN))]
    assert [hand and hand.number for hand in raised] == [1, 2, None]
    assert [hand.participant for hand in hands.view().queue] == [BEN, CID]
    hands.call_on("ben")
    hands.call_on("ann")
    hands.raise_(BEN, "ben", 9)
    assert [hand.participant for hand in hands.view().queue] == [CID, BEN]
    assert hands.view().answered == {"ben": 1, "ann": 1}
    assert hands.lower_all()
    assert not hands.lower("ben")


def test_a_hand_goes_down_with_its_owner() -> None:
    world = World()
    entered(world, "ann", "owner")
    ben = entered(world, "ben")
    world.do(acts.RaiseHand(ben, True))
    assert told(world.do(commands.Leave(ben, "left")), HandsChanged)[0][1].hands.queue == ()


def test_a_full_list_of_questions_gives_up_answered_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "MAX_QUESTIONS", 2)
    kept = Questions()
    first, _ = kept.ask(ANN, "ann", "Ann", "1?", 0)
    kept.ask(ANN, "ann", "Ann", "2?", 0)
    assert code(kept.ask, ANN, "ann", "Ann", "3?", 0) == "bad_state"
    first.answered = True
    assert kept.ask(ANN, "ann", "Ann", "3?", 0)[1] == first.id
    assert code(kept.vote, first.id, "ben", voted=True) == "not_found"


def test_votes_for_a_question_count_people_once() -> None:
    world = World()
    ann, ben = entered(world, "ann", "owner"), entered(world, "ben")
    world.do(acts.AskQuestion(ben, "Why?"))
    for _ in range(2):
        done = world.do(acts.VoteQuestion(ann, 1, True))
    assert told(done, QuestionChanged)[0][1].question.votes == 2
    done = world.do(acts.VoteQuestion(ben, 1, False))
    assert told(done, QuestionChanged)[0][1].question.votes == 1
    assert told(world.do(acts.RemoveQuestion(ben, 1)), QuestionRemoved), "one's own"


def test_poll_ballots_are_checked_and_may_change() -> None:
    kept = Polls()
    poll, _ = kept.open("ann", "?", ("a", "b"), multiple=False, now_ms=0)
    poll.vote("ann", [0])
    poll.vote("ann", [1])
    assert poll.view().counts == (0, 1)
    assert poll.view("ann").voted == (1,)
    assert code(poll.vote, "ann", [2]) == "bad_request"
    assert code(poll.vote, "ann", [0, 1]) == "bad_request"
    poll.vote("ben", [0])
    poll.vote("ben", [])
    assert (poll.view().counts, poll.view("ben").voted) == ((0, 1), ()), "a vote taken back"
    poll.open = False
    assert code(poll.vote, "ann", [0]) == "bad_state"


def test_a_full_list_of_polls_gives_up_closed_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polls, "MAX_POLLS", 1)
    monkeypatch.setattr(polls, "MAX_BALLOTS", 1)
    kept = Polls()
    poll, _ = kept.open("ann", "?", ("a", "b"), multiple=True, now_ms=0)
    poll.vote("ann", [0, 1])
    assert code(poll.vote, "ben", [0]) == "bad_state"
    assert code(kept.open, "ann", "?", ("a", "b"), multiple=True, now_ms=0) == "bad_state"
    poll.open = False
    assert kept.open("ann", "?", ("a", "b"), multiple=True, now_ms=0)[1] == poll.id


def test_only_who_moderates_hears_who_has_not_answered() -> None:
    world = World()
    ann, ben, cid = entered(world, "ann", "owner"), entered(world, "ben"), entered(world, "cid")
    world.do(acts.OpenPoll(ann, "?", ("a", "b"), False))
    done = told(world.do(acts.VotePoll(ben, 1, (1,))), PollChanged)
    assert {to: event.poll.waiting for to, event in done} == {(ben, cid): None, (ann,): (cid,)}
    assert all(event.poll.counts == (0, 1) and event.poll.voted is None for _, event in done)


def stroke(points: int = 1, name: str = "s", author: str = "ann") -> Stroke:
    return Stroke(id=name, author=author, color="#000000", width=1, points=((1, 2),) * points)


def test_strokes_grow_and_belong_to_their_author() -> None:
    kept = Board()
    kept.draw(stroke(2))
    kept.draw(stroke(3))
    assert [len(each.points) for each in kept.strokes] == [5]
    assert code(kept.draw, stroke(author="ben")) == "not_allowed"
    assert code(kept.erase, "s", "ben") == "not_allowed"
    assert code(kept.erase, "t", None) == "not_found"
    kept.erase("s", None)
    assert kept.strokes == ()


def test_a_board_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board, "MAX_STROKE_POINTS", 3)
    monkeypatch.setattr(board, "MAX_POINTS", 5)
    monkeypatch.setattr(board, "MAX_STROKES", 2)
    kept = Board()
    kept.draw(stroke(3))
    assert code(kept.draw, stroke(1)) == "too_large", "a stroke"
    assert code(kept.draw, stroke(3, "t")) == "too_large", "all points"
    kept.draw(stroke(1, "t"))
    assert code(kept.draw, stroke(1, "u")) == "too_large", "all strokes"
    kept.clear()
    kept.draw(stroke(3, "u"))


def test_everybody_hears_of_the_new_points_only() -> None:
    world = World()
    ann, ben = entered(world, "ann", "owner"), entered(world, "ben")
    world.do(acts.Draw(ben, "s", "#000000", 4, ((1, 1),)))
    ((to, event),) = told(world.do(acts.Draw(ben, "s", "#000000", 4, ((2, 2),))), Drawn)
    assert (set(to), event.stroke.points) == ({ann, ben}, ((2, 2),))
    assert world.rooms.room(RoomName("r")).board.strokes[0].points == ((1, 1), (2, 2))
    assert refused(world, acts.Erase(ben, "nothing")) == "not_found"
    world.do(acts.Erase(ann, "s"))


def test_old_questions_and_polls_expire_and_everybody_hears_it() -> None:
    world = World()
    ann, ben = entered(world, "ann", "owner"), entered(world, "ben")
    world.do(acts.AskQuestion(ben, "old?"))
    world.do(acts.OpenPoll(ann, "old?", ("a", "b"), False))
    old_ms = world.rooms.room(RoomName("r")).questions[1].asked_at_ms
    world.us += 10_000_000
    world.do(acts.AskQuestion(ben, "new?"))
    done = world.do(commands.Expire(old_ms + 1))
    assert [event.question for _, event in told(done, QuestionRemoved)] == [1]
    assert [event.poll for _, event in told(done, PollRemoved)] == [1]
    assert not [each for each in done if isinstance(each, ClassToStore)], "the store has done so already"
    assert refused(world, acts.VotePoll(ann, 1, (0,))) == "not_found"
    assert world.do(acts.VoteQuestion(ann, 2, True))
