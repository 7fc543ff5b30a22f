"""Working together: hands, questions, polls, reactions, the whiteboard. Every act checks its right itself."""

from __future__ import annotations

from typing import get_args

from sfu.errors import RequestError
from sfu.room import acts, rank
from sfu.room.board import Stroke
from sfu.room.class_events import (
    Drawn,
    Erased,
    HandsChanged,
    PollChanged,
    PollRemoved,
    QuestionChanged,
    QuestionRemoved,
    Reacted,
)
from sfu.room.class_records import (
    BallotCast,
    BoardCleared,
    HandLowered,
    HandRaised,
    PollClosed,
    PollDropped,
    PollOpened,
    QuestionAnswered,
    QuestionAsked,
    QuestionDropped,
    QuestionVoted,
    StrokeDropped,
    StrokeKept,
    TurnTaken,
)
from sfu.room.effects import Announce, Effect
from sfu.room.measuring import measure
from sfu.room.model import Instant, Participant
from sfu.room.moderation import moderate
from sfu.room.polls import Poll
from sfu.room.recording import set_recording
from sfu.room.room import Room
from sfu.room.standing import keep
from sfu.room.views import waiting_for

REACTIONS = ("👍", "👏", "❤️", "😂", "😮", "🎉", "🤔", "👎")


def act(room: Room, member: Participant, wanted: acts.Act, now: Instant) -> list[Effect]:
    """Do what a participant wants done in its room. Raises `RequestError`; nothing has changed then."""
    if isinstance(wanted, get_args(acts.Moderation)):
        return moderate(room, member, wanted, now)
    if member.grants.hidden:
        raise RequestError("not_allowed", "who is hidden only watches")
    if isinstance(wanted, acts.TelemetryAct):
        return measure(room, member, wanted, now)
    match wanted:
        case acts.RaiseHand() | acts.LowerHand() | acts.CallOn():
            return _hands(room, member, wanted, now)
        case acts.AskQuestion() | acts.VoteQuestion() | acts.AnswerQuestion() | acts.RemoveQuestion():
            return _questions(room, member, wanted, now)
        case acts.OpenPoll() | acts.VotePoll() | acts.ClosePoll() | acts.RemovePoll():
            return _polls(room, member, wanted, now)
        case acts.React():
            _need_chat(member, "react")
            if wanted.reaction not in REACTIONS:
                raise RequestError("bad_request", "no such reaction")
            return room.tell(Reacted(member.id, wanted.reaction))
        case acts.Draw() | acts.Erase() | acts.ClearBoard():
            return _draw(room, member, wanted)
        case acts.SetRecording():
            return set_recording(room, member, wanted)
        case _:
            raise AssertionError(wanted)


def _need_chat(member: Participant, to: str) -> None:
    """Who may say nothing answers nothing: neither devices nor who only watches."""
    if not member.grants.may_chat:
        raise RequestError("not_allowed", f"no right to chat, so none to {to}")


def _need_moderate(member: Participant) -> None:
    if not member.grants.may_moderate:
        raise RequestError("not_allowed", "no right to moderate")


def _hands(
    room: Room, member: Participant, wanted: acts.RaiseHand | acts.LowerHand | acts.CallOn, now: Instant
) -> list[Effect]:
    kept: list[Effect] = []
    match wanted:
        case acts.RaiseHand(raised=True):
            _need_chat(member, "raise a hand")
            if hand := room.hands.raise_(member.id, member.identity, now.wall_ms):
                kept = keep(room, HandRaised(hand))
        case acts.RaiseHand():
            kept = _lower(room, member.identity)
        case acts.LowerHand(target=None):
            _need_moderate(member)
            if room.hands.lower_all():
                kept = keep(room, HandLowered(None))
        case acts.LowerHand():
            _need_moderate(member)
            if wanted.target in room.participants:
                kept = _lower(room, room.participants[wanted.target].identity)
        case acts.CallOn():
            _need_moderate(member)
            target = room.participants.get(wanted.target)
            if target is None or target.grants.hidden:
                raise RequestError("not_found", f"no participant {wanted.target}")
            kept = _lower(room, target.identity)
            if count := room.hands.call_on(target.identity):
                kept += keep(room, TurnTaken(target.identity, count))
            return [*kept, *room.tell(HandsChanged(room.hands.view()))]
    return [*kept, *room.tell(HandsChanged(room.hands.view()))] if kept else []


def _lower(room: Room, identity: str) -> list[Effect]:
    return keep(room, HandLowered(identity)) if room.hands.lower(identity) else []


def _questions(
    room: Room,
    member: Participant,
    wanted: acts.AskQuestion | acts.VoteQuestion | acts.AnswerQuestion | acts.RemoveQuestion,
    now: Instant,
) -> list[Effect]:
    match wanted:
        case acts.AskQuestion():
            _need_chat(member, "ask")
            question, removed = room.questions.ask(
                member.id, member.identity, member.name, wanted.text, now.wall_ms
            )
            kept = keep(room, QuestionAsked(question.record()))
            if removed is not None:
                kept = [*_drop_question(room, removed), *kept]
        case acts.VoteQuestion():
            _need_chat(member, "vote")
            question = room.questions.vote(wanted.question, member.identity, voted=wanted.voted)
            kept = keep(room, QuestionVoted(question.id, member.identity, wanted.voted))
        case acts.AnswerQuestion():
            _need_moderate(member)
            question = room.questions[wanted.question]
            question.answered, question.answer = wanted.answered, wanted.answer
            kept = keep(room, QuestionAnswered(question.id, wanted.answered, wanted.answer))
        case acts.RemoveQuestion():
            question = room.questions[wanted.question]
            if question.identity != member.identity:
                _need_moderate(member)
            room.questions.remove(question.id)
            return _drop_question(room, question.id)
    return [*kept, *room.tell(QuestionChanged(question.view()))]


def _drop_question(room: Room, question: int) -> list[Effect]:
    return [*keep(room, QuestionDropped(question)), *room.tell(QuestionRemoved(question))]


def _polls(
    room: Room,
    member: Participant,
    wanted: acts.OpenPoll | acts.VotePoll | acts.ClosePoll | acts.RemovePoll,
    now: Instant,
) -> list[Effect]:
    match wanted:
        case acts.OpenPoll():
            _need_moderate(member)
            poll, removed = room.polls.open(
                member.identity,
                wanted.question,
                wanted.options,
                multiple=wanted.multiple,
                now_ms=now.wall_ms,
            )
            kept = keep(room, PollOpened(poll.record()))
            if removed is not None:
                kept = [*_drop_poll(room, removed), *kept]
        case acts.VotePoll():
            _need_chat(member, "vote")
            poll = room.polls[wanted.poll]
            choices = poll.vote(member.identity, wanted.choices)
            kept = keep(room, BallotCast(poll.id, member.identity, choices))
        case acts.ClosePoll():
            _need_moderate(member)
            poll = room.polls[wanted.poll]
            poll.open = False
            kept = keep(room, PollClosed(poll.id))
        case acts.RemovePoll():
            _need_moderate(member)
            room.polls.remove(wanted.poll)
            return _drop_poll(room, wanted.poll)
    return kept + _tell_poll(room, poll)


def _drop_poll(room: Room, poll: int) -> list[Effect]:
    return [*keep(room, PollDropped(poll)), *room.tell(PollRemoved(poll))]


def _tell_poll(room: Room, poll: Poll) -> list[Effect]:
    """Only who moderates hears who has not answered."""
    moderators = room.moderators()
    others = tuple(
        each.id for each in room.participants.values() if each.grants.follows and each.id not in moderators
    )
    told: list[Effect] = []
    if others:
        told.append(Announce(others, PollChanged(poll.view())))
    if moderators:
        told.append(Announce(moderators, PollChanged(poll.view(waiting=waiting_for(room, poll.id)))))
    return told


def _draw(room: Room, member: Participant, wanted: acts.Draw | acts.Erase | acts.ClearBoard) -> list[Effect]:
    if not member.grants.may_send_data:
        raise RequestError("not_allowed", "no right to send data, so none to draw")
    match wanted:
        case acts.Draw():
            stroke = Stroke(
                id=wanted.stroke,
                author=member.identity,
                color=wanted.color,
                width=wanted.width,
                points=wanted.points,
            )
            whole = room.board.draw(stroke)
            return [*keep(room, StrokeKept(whole)), *room.tell(Drawn(member.id, stroke), member.id)]
        case acts.Erase():
            if member.grants.may_moderate:
                author = room.board.author(wanted.stroke)
                rank.check_author(member.role, member.identity, author, room.owners)
            room.board.erase(wanted.stroke, None if member.grants.may_moderate else member.identity)
            return [*keep(room, StrokeDropped(wanted.stroke)), *room.tell(Erased(wanted.stroke), member.id)]
        case acts.ClearBoard():
            _need_moderate(member)
            room.board.clear()
            return [*keep(room, BoardCleared()), *room.tell(Erased(None))]
