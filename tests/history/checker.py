"""Judges a history: every line returned is a broken promise. Pure, and blind to the ledger."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import combinations

from batching.model import Reason, Tag
from tests.history.events import Apologized, Doubted, Failed, History
from tests.history.ids import NEVER, Message, Person
from tests.history.story import Call, Reply, Story

#: Why a batch may become a dead letter; each has exactly one alert.
DROPS = frozenset({
    Reason.POISON, Reason.FATAL_PROVIDER, Reason.FATAL_MODEL, Reason.DEADLINE, Reason.AMBIGUOUS,
    Reason.UNDELIVERED,
    Reason.VANISHED, Reason.RESTORED,
})  # fmt: skip


def check(
    history: History, *, resend: frozenset[str] = frozenset(), max_attempts: int | None = None
) -> list[str]:
    """Return what is wrong with a history that has come to its end; nothing is under way any more.

    ``resend``: the accounts that send a part in doubt once more. ``max_attempts``: how often a
    model may be asked about one batch, None for any number.
    """
    story = Story(history)
    return [
        *_lost(story),
        *_unalerted(story),
        *_undelivered(story),
        *_doubled(story, resend),
        *_apologized(story),
        *_taken_back(story),
        *_misordered(story),
        *_overlapping(story),
        *_misdirected(story),
        *_invented(story),
        *_misaddressed(story),
        *_talked_across(story),
        *_promised(story),
        *_talked_meanwhile(story),
        *_forgotten_past(story),
        *_stale(story),
        *(_overasked(story, max_attempts) if max_attempts else ()),
    ]


def _lost(story: Story) -> Iterator[str]:
    """Whatever was accepted is answered, with a person, or was forgotten by a person's word."""
    for message in story.messages.values():
        is_gone = bool(story.amended[message.word]) or _is_withdrawn(story, message)
        is_expected = message.accepted != NEVER and not message.silent and not is_gone
        if is_expected and not _has_end(story, message):
            yield f"lost: {message.word} was accepted and has no end"


def _is_withdrawn(story: Story, edit: Message) -> bool:
    """Return whether the message of an edit was deleted, or lies with a person."""
    former = story.former.get(edit.word, "")
    is_dead = any(batch not in story.replays for batch in story.deaths_of(former))
    return bool(story.deleted[former]) or is_dead


def _taken_back(story: Story) -> Iterator[str]:
    """A text that was deleted or edited reaches no model asked after that was acknowledged.

    But from a worker that stood still at that moment: it may have read the text before. With its
    customer it is forgotten that a text was deleted, also before that is acknowledged.
    """
    for call in story.calls.values():
        for word in {*call.asked.words, *call.asked.history}:
            # With a message its edit is deleted.
            places = story.amended[word] + story.deleted[story.former.get(word, "")]
            known = story.messages.get(word)
            erased = story.erasures[known.person] if known else []
            for place in places:
                is_excused = any(story.called[place] < at < call.began for at in erased)
                is_excused |= _stood_still(story, call, place)
                # What was deleted is not edited any more.
                is_excused |= place not in story.deleted[word] and any(
                    at < place for at in story.deleted[word]
                )
                is_excused |= known is not None and not _reaches(story, known, place)
                if place < call.began and not is_excused:
                    yield f"taken back: call {call.asked.call} was given {word}"


def _reaches(story: Story, message: Message, place: int) -> bool:
    """Return whether the deletion or edit at ``place`` was known to be of its customer."""
    ids, person, address = story.ids, message.person, story.amended_by[place]
    called = story.called[place]
    return all(
        it == address or (ids.is_clear(person) and ids.are_one(person, it, address, called))
        for it in message.addresses
    )


def _stood_still(story: Story, call: Call, place: int) -> bool:
    """Return whether the asking worker stood still before the place, and until after it."""
    worker = call.asked.worker
    spans = (0, place), (place, call.began)
    return bool(worker) and all(story.paused(worker, *span) for span in spans)


def _has_end(story: Story, message: Message) -> bool:
    replayed = story.replays_of(message.word)
    since = max([message.offered, *(story.replays[batch] for batch in replayed)])
    if any(place > since for place in story.erasures[message.person]):
        return True
    if any(end > since for _, end, _ in story.takeovers[message.person]):
        return True
    # A person has it: they were alerted that they are to answer.
    if any(end > since and it.silent for _, end, it in story.awaited[message.person]):
        return True
    if any(batch not in replayed for batch in story.deaths_of(message.word)):
        return True
    replies = story.replies_to(message.word)
    return any(reply.batch not in replayed and story.is_complete(reply) for reply in replies)


def _unalerted(story: Story) -> Iterator[str]:
    """A dead letter and its one alert are one."""
    for batch in story.deaths:
        drops = [kind for kind in story.alerts[batch] if kind in DROPS]
        # What was settled may yet be reported as failed, which is another death.
        failed = drops.count(Reason.UNDELIVERED)
        if len(drops) - failed > 1 or failed > 1 or not drops:
            yield f"unalerted: {batch} died and has {len(drops)} alerts"
    for batch, kinds in story.alerts.items():
        if batch and batch not in story.deaths and DROPS - {Reason.UNDELIVERED} & set(kinds):
            yield f"alerted for nothing: {batch} has an alert {kinds[0]} and did not die"


def _undelivered(story: Story) -> Iterator[str]:
    """No answer of which a failure is known stays answered, as if its customer had it."""
    for place, event in enumerate(story.history):
        tag = Tag.parse(event.tag) if isinstance(event, Failed) else None
        batch = f"{tag.conversation_id}:{tag.batch_id}" if tag else ""
        if not tag or batch in story.deaths or batch not in story.replies:
            continue
        reply = story.replies[batch]
        _, _, taken = reply.takes[0]
        if _has_another_copy(story, reply, place, tag.part):
            continue
        if not story.erasures[taken.account, taken.customer] and not _is_left(story, reply):
            yield f"undelivered: {batch} failed, and did not die"


def _has_another_copy(story: Story, reply: Reply, place: int, part: int) -> bool:
    """Return whether one copy of a part was delivered before the other was reported as failed.

    Of a part in doubt that was sent once more the provider took both, and of each it says what
    became of it: the customer has the answer (seed 874).
    """
    delivered = story.delivered[f"{reply.batch}:{part}"]
    return len(reply.copies(part)) > 1 and any(at < place for at in delivered)


def _is_left(story: Story, reply: Reply) -> bool:
    """Return whether somebody was alerted that an answer failed which a person took over halfway.

    That is no answer: it ended as theirs, and nothing of it is kept.
    """
    _, _, taken = reply.takes[0]
    over = story.takeovers[taken.account, taken.customer]
    # Who was sending then may hand over one more part.
    begun = story.ids.begun.get(taken.worker, reply.began)
    began_over = any(start > begun for start, _, _ in over)
    is_told = Reason.UNDELIVERED in story.alerts[reply.batch]
    # Of a part in doubt nobody knew that it had left, when it was to be sent once more (seed 1800).
    in_doubt = any(
        story.paused(take.worker, at, start)
        for at, _, take in reply.takes
        for start, _, _ in over
        if start > at
    )
    return is_told and began_over and (in_doubt or not story.is_complete(reply))


def _doubled(story: Story, resend: frozenset[str]) -> Iterator[str]:
    """No message is answered twice, no part sent twice, but where a person or a doubt allows it."""
    for message in story.messages.values():
        replies = story.replies_to(message.word)
        erased = [place for place in story.erasures[message.person] if place > message.offered]
        former = story.messages.get(story.former.get(message.word, ""))
        alone = former is not None and _is_apart(story, former, message)
        # Of ids that contradict each other a person was alerted.
        alone |= not story.ids.is_clear(message.person) and len(message.addresses) > 1
        if len(replies) > 1 + len(story.replays_of(message.word)) + len(erased) + alone:
            batches = ", ".join(reply.batch for reply in replies)
            yield f"answered twice: {message.word} in {batches}"
    doubted = {event.tag for event in story.history if isinstance(event, Doubted)}
    for reply in story.replies.values():
        for part in reply.parts:
            copies = reply.copies(part)
            (_, taken), (last, _) = copies[0], copies[-1]
            senders = {"", *(copy.worker for _, copy in copies)}
            again = taken.tag in doubted or any(story.paused(who, 0, last) for who in senders)
            if len(copies) > 1 + (again and taken.account in resend):
                yield f"sent twice: {taken.tag}, {len(copies)} times"


def _is_apart(story: Story, former: Message, edit: Message) -> bool:
    """Return whether an edit may be a message of its own: it came elsewhere than its message.

    Under another id, or by the same once that had been joined with others: what is being asked
    about here when the message's turn comes there is told of here, and stands there in its place.
    """
    is_moved = story.ids.joined(edit.person, former.offered, edit.accepted)
    return former.addresses != edit.addresses or is_moved


def _apologized(story: Story) -> Iterator[str]:
    """An apology is said once, and is no answer: its batch is with a person."""
    said = Counter(event.tag for event in story.history if isinstance(event, Apologized))
    for tag, times in said.items():
        if times > 1:
            yield f"apologized again: {tag}, {times} times"


def _misordered(story: Story) -> Iterator[str]:
    """Who wrote first is read first: within a batch, from batch to batch, and part by part.

    In a batch, what was delivered late may come before what arrived earlier.
    """
    for call in story.calls.values():
        for earlier, later in combinations(story.known(call.asked.words), 2):
            swapped = later.accepted < earlier.offered and not earlier.late
            # An edit has the place of its message.
            swapped = swapped and not {earlier.word, later.word} & story.former.keys()
            if swapped and _comparable(story, earlier, later):
                yield f"order in call {call.asked.call}: {earlier.word} before {later.word}"
    answered = _first_answers(story)
    for (sooner, reply), (later, other) in _pairs_of_a_person(answered):
        is_wrong = later.accepted < sooner.offered and reply is not other
        if is_wrong and not _redone(story, later) and story.ids.together(sooner, later):
            yield f"order of answers: {sooner.word} answered before {later.word}"
    for reply in story.replies.values():
        if reply.parts != sorted(reply.parts):
            yield f"order of parts: {reply.batch}"


def _first_answers(story: Story) -> list[tuple[Message, Reply]]:
    """Return each answered message with its first reply, in the order of the replies."""
    firsts: dict[str, Reply] = {}
    for reply in sorted(story.replies.values(), key=lambda reply: reply.began):
        for word in sorted(reply.words):
            firsts.setdefault(word, reply)
    known = (message for message in story.known(firsts) if message.word not in story.former)
    return [(message, firsts[message.word]) for message in known]


def _pairs_of_a_person(
    answered: list[tuple[Message, Reply]],
) -> Iterator[tuple[tuple[Message, Reply], tuple[Message, Reply]]]:
    own = defaultdict(list)
    for message, reply in answered:
        own[message.person].append((message, reply))
    for each in own.values():
        yield from combinations(each, 2)


def _redone(story: Story, message: Message) -> bool:
    """Return whether the message left its place: it died, or its customer was forgotten."""
    return _forgotten(story, message) or bool(story.deaths_of(message.word))


def _comparable(story: Story, one: Message, other: Message) -> bool:
    """Return whether two messages kept their order: neither left its place, or both together."""
    if _forgotten(story, one) or _forgotten(story, other) or not story.ids.together(one, other):
        return False
    return story.deaths_of(one.word) == story.deaths_of(other.word)


def _forgotten(story: Story, message: Message) -> bool:
    return any(place > message.offered for place in story.erasures[message.person])


def _overlapping(story: Story) -> Iterator[str]:
    """Two questions about one customer never run at once, unless the first lost its lease."""
    running: defaultdict[Person, list[Call]] = defaultdict(list)
    for later in sorted(story.calls.values(), key=lambda call: call.began):
        for person in story.people(later.asked.words):
            running[person] = [call for call in running[person] if call.ended > later.began]
            for earlier in running[person]:
                if not _lost_its_lease(story, earlier, later, person) and _meet(
                    story, earlier, later
                ):
                    yield f"two generations at once: {earlier.asked.call} and {later.asked.call}"
            running[person].append(later)


def _meet(story: Story, earlier: Call, later: Call) -> bool:
    """Return whether two questions are of one conversation."""
    one, other = (list(story.written(call.asked.words)) for call in (earlier, later))
    return all(story.ids.together(it, each) for it in one for each in other)


def _lost_its_lease(story: Story, earlier: Call, later: Call, person: Person) -> bool:
    """Return whether one of the two may be a replaced worker's, that asks in vain."""
    workers = {earlier.asked.worker, later.asked.worker} - {""}
    return (
        any(story.paused(worker, 0, later.began) for worker in workers)
        or story.paused("", earlier.began, later.began)
        or any(earlier.began < place < later.began for place in story.erasures[person])
    )


def _misdirected(story: Story) -> Iterator[str]:
    """A question holds one customer's words, and its answer goes to no other."""
    for call in story.calls.values():
        people = story.people((*call.asked.words, *call.asked.history))
        strange = {account for account, _ in people} - {call.asked.account}
        if len(people) > 1 or (call.asked.account and strange):
            yield f"mixed: call {call.asked.call} was given the words of {sorted(people)}"
    for reply in story.replies.values():
        for _, _, taken in reply.takes:
            people = story.people(taken.text.split())
            if people != {(taken.account, taken.customer)}:
                yield f"misdirected: {taken.tag} to {taken.account}/{taken.customer}"


def _invented(story: Story) -> Iterator[str]:
    """All that a model or a customer is given was written by somebody."""
    for call in story.calls.values():
        if len(set(call.asked.words)) < len(call.asked.words):
            yield f"given twice: call {call.asked.call} was given {call.asked.words}"
        for word in call.asked.words:
            message = story.messages.get(word)
            if message is None or message.offered > call.began:
                yield f"invented: call {call.asked.call} was given {word}, which no customer wrote"
            elif message.silent:
                yield f"asked although silent: {word} in call {call.asked.call}"
    for reply in story.replies.values():
        if all(call.ended > reply.began for call in story.authors_of(reply)):
            yield f"invented: {reply.batch} is not what one call answered"
    for taken in story.strays:
        yield f"invented: {taken.text} has no tag of ours"


def _overasked(story: Story, max_attempts: int) -> Iterator[str]:
    """A model is not asked about a batch for ever, unless it could answer nobody."""
    asked = Counter(call.asked.words for call in story.calls.values() if not call.lacked)
    for words, times in asked.items():
        starts = 1 + len(story.replays_of(words[0]))
        starts += sum(len(story.erasures[person]) for person in story.people(words))
        starts += sum(not story.ids.is_clear(person) for person in story.people(words))
        if times > max_attempts * starts:
            yield f"asked too often: {words}, {times} times"


def _misaddressed(story: Story) -> Iterator[str]:
    """An answer goes to an id under which its customer wrote, or to what that has become."""
    for reply in story.replies.values():
        for _, _, taken in reply.takes:
            messages = list(story.written(taken.text.split()))
            if not taken.address or len({it.person for it in messages}) != 1:
                continue
            person = messages[0].person
            changes = story.ids.renumbered[person]
            allowed = {address for message in messages for address in message.addresses}
            # Of what else is in a turn there is no word: it tells that something was deleted.
            allowed |= story.deleted_by(person)
            for _ in changes:
                allowed |= {it.present for _, it in changes if it.former in allowed}
            if taken.address not in allowed:
                yield f"misaddressed: {taken.tag} to {taken.address}"
            elif _is_given_up(story, taken.address, taken.worker, messages):
                yield f"misaddressed: {taken.tag} to {taken.address}, which was given up"


def _is_given_up(story: Story, address: str, worker: str, messages: list[Message]) -> bool:
    """Return whether an id had become another before its message was on its way to it."""
    person, begun = messages[0].person, story.ids.begun.get(worker, -1)
    if not story.ids.is_clear(person):
        return False
    for place, change in story.ids.renumbered[person]:
        is_late = place >= begun or any(at > place for at in story.erasures[person])
        if change.former != address or is_late:
            continue
        # Whoever wrote after the change has the id that was given up.
        if all(it.addresses == {address} and it.sent_ms <= change.since_ms for it in messages):
            return True
    return False


def _talked_across(story: Story) -> Iterator[str]:
    """While a person answers a customer, by whichever id, no model is asked and nothing is sent."""
    for call in story.calls.values():
        words, worker = call.asked.words, call.asked.worker
        if _is_across(story, words, worker, call.began):
            yield f"talked across: call {call.asked.call} was asked"
    for reply in story.replies.values():
        for place, _, taken in reply.takes:
            if _is_across(story, taken.text.split(), taken.worker, place):
                yield f"talked across: {taken.tag} was sent"


def _promised(story: Story) -> Iterator[str]:
    """Who was promised a person has one who was alerted, once for each hand-over."""
    for batch, kinds in story.alerts.items():
        if kinds.count("handover") > 1:
            yield f"handed over twice: {batch} has {kinds.count('handover')} alerts"
    for reply in story.replies.values():
        for call in story.authors_of(reply):
            if call.hands_over and "handover" not in story.alerts[reply.batch]:
                begun = story.ids.begun.get(call.asked.worker, call.began)
                spans = (it for person in story.people(reply.words) for it in story.awaited[person])
                if not any(start <= call.ended and end >= begun for start, end, _ in spans):
                    yield f"promised: {reply.batch} promises a person, and nobody was alerted"


def _talked_meanwhile(story: Story) -> Iterator[str]:
    """Where a person is awaited an account that is silent meanwhile says nothing."""
    for call in story.calls.values():
        if _is_meanwhile(story, call.asked.words, call.asked.worker, call.began, ""):
            yield f"talked meanwhile: call {call.asked.call} was asked"
    for reply in story.replies.values():
        for place, _, taken in reply.takes:
            if _is_meanwhile(story, taken.text.split(), taken.worker, place, reply.batch):
                yield f"talked meanwhile: {taken.tag} was sent"


def _is_meanwhile(story: Story, words: Iterable[str], worker: str, place: int, batch: str) -> bool:
    """Return whether a person was awaited, by another answer than that of ``batch``."""
    begun, messages = story.ids.begun.get(worker, -1), list(story.known(words))
    return any(
        it.silent and it.batch != batch and start <= begun and end >= place
        and all(_is_under(story, message, it.address, start) for message in messages)
        for person in {message.person for message in messages}
        for start, end, it in story.awaited[person]
        if not any(start < at for at in story.erasures[person])
    )  # fmt: skip


def _is_across(story: Story, words: Iterable[str], worker: str, place: int) -> bool:
    begun = story.ids.begun.get(worker, -1)
    messages = list(story.known(words))
    for person in {message.person for message in messages}:
        for start, end, address in story.takeovers[person]:
            is_over = end < place or any(start < at for at in story.erasures[person])
            if start > begun or is_over:
                continue
            if all(_is_under(story, message, address, start) for message in messages):
                return True
    return False


def _is_under(story: Story, message: Message, address: str, place: int) -> bool:
    """Return whether a takeover of an id at a place is one of the message's customer."""
    ids, person = story.ids, message.person
    if not ids.is_clear(person):
        return False
    return all(ids.are_one(person, it, address, place) for it in message.addresses)


def _forgotten_past(story: Story) -> Iterator[str]:
    """What a model was given of a customer's past it is given again, under whichever id."""
    calls = sorted(story.calls.values(), key=lambda call: call.began)
    for number, later in enumerate(calls):
        for earlier in calls[:number]:
            lost = set(earlier.asked.past) - set(later.asked.past)
            if lost and _is_of_one(story, earlier, later):
                for word in sorted(lost):
                    if not _may_be_gone(story, word):
                        yield f"forgotten: {word}, which call {later.asked.call} was not given"


def _is_of_one(story: Story, earlier: Call, later: Call) -> bool:
    """Return whether both are known to be about one customer, whom the later call's worker met
    after the earlier call, and who was not forgotten since that call's worker met them.
    """
    begun = story.ids.begun.get(later.asked.worker, -1)
    met = story.ids.begun.get(earlier.asked.worker, earlier.began)
    one, other = (list(story.written(call.asked.words)) for call in (earlier, later))
    if not one or not other or one[0].person != other[0].person:
        return False
    person = one[0].person
    if begun < earlier.began or any(at > met for at in story.erasures[person]):
        return False
    addresses = {it for message in (*one, *other) for it in message.addresses}
    first, *others = sorted(addresses)
    return story.ids.is_clear(person) and all(
        story.ids.are_one(person, first, it, earlier.began) for it in others
    )


def _may_be_gone(story: Story, word: str) -> bool:
    """Return whether a word may have left the past: taken back, or not delivered."""
    former = story.former.get(word, "")
    is_amended = story.amended[word] or story.deleted[former]
    return bool(is_amended or story.deaths_of(word) or story.deaths_of(former))


def _stale(story: Story) -> Iterator[str]:
    """No answer leaves without what its customer wrote before, where it is to be made anew.

    But a person who was promised by it has been alerted by then.
    """
    for place, event in story.leaving:
        reply = story.replies.get(event.batch)
        if not event.anew or reply is None:
            continue
        answered = list(story.known(reply.words))
        if any(call.hands_over for call in story.authors_of(reply)):
            continue
        for late in story.messages.values():
            if late.person != (event.account, event.customer) or late.word in reply.words:
                continue
            is_waiting = late.accepted < place and not _is_settled(story, late, place)
            if is_waiting and all(story.ids.together(late, it) for it in answered):
                yield f"stale: {event.batch} left without {late.word}"


def _is_settled(story: Story, message: Message, place: int) -> bool:
    """Return whether nobody was to answer a message any more at a place, or it left its turn."""
    done = {event.batch for at, event in story.leaving if at < place}
    replies, word = story.replies_to(message.word), message.word
    is_changed = bool(story.amended[word]) or word in story.former
    is_gone = is_changed or _redone(story, message) or not replies
    return is_gone or any(reply.batch in done for reply in replies)
