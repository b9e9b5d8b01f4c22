"""Which failures stand open, and who was told of each: a recovery goes to exactly them, after their news.

Which of several pushes ends a failure is left to the bridge; that its end is told once, by a success, is not.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from support.model.job_life import Life, WirePair
from support.model.stored import Notified, Sent

RECOVERED = "appliance.recovered"

CHAT, PARTIAL, MUTE = "chat", "partial", "mute"
"""Told everything; told of failures on one appliance alone; told everything but progress, and no recovery."""
PARTIAL_SERIAL = "V2"

Key = tuple[WirePair, str]
"""A pair, and the job's uid where the pair is not fully named."""


class Standing:
    """The open failures of one controller, as told."""

    def __init__(self) -> None:
        self.open: dict[Key, dict[str, set[str]]] = {}
        """Each sink that was told, with the deliveries that told it."""
        self._incidents: dict[str, dict[str, Any]] = {}
        self._deliveries: set[str] = set()
        self._ordering: dict[str | None, str] = {}

    def closed_by_hand(self, incidents: dict[str, dict[str, Any]]) -> None:
        """An operator has closed a failure: nothing is told of that, nor of its end."""
        self._incidents = incidents
        standing = {_key(one) for one in incidents.values() if one["closed_at"] is None}
        self.open = {key: audience for key, audience in self.open.items() if key in standing}

    def forgot(self, incidents: dict[str, dict[str, Any]]) -> set[str]:
        """Retention has run: no open failure is gone. Returns the jobs that open ones speak of."""
        standing = [one for one in self._incidents.values() if one["closed_at"] is None]
        assert {one["id"] for one in standing} <= incidents.keys(), "an open failure was forgotten"
        self._incidents = incidents
        return {one[which] for one in standing for which in ("job_uid", "last_job_uid")}

    def account(
        self, told: Sequence[Notified], incidents: dict[str, dict[str, Any]], lives: Iterable[Life]
    ) -> None:
        """Each delivery goes where it must; each failure told stands open until its end is told, once."""
        opened = {(one["opened_event"], _key(one)) for one in incidents.values()}
        ended: Counter[tuple[object, ...]] = Counter()
        for event in told:
            first, *others = event.deliveries
            assert first.ordering_key == self._ordering.setdefault(event.uid, first.ordering_key)
            assert {one.ordering_key for one in others} <= {first.ordering_key}
            if event.type == RECOVERED:
                self._recovered(event, ended)
            else:
                self._opened(event, opened)
            self._deliveries.update(sent.id for sent in event.deliveries)
        before = self._incidents
        closed = [
            one
            for name, one in incidents.items()
            if one["closed_at"] is not None and (name not in before or before[name]["closed_at"] is None)
        ]
        due = Counter((one["serial"], one["feature_id"], one["job_id"], one["closed_by"]) for one in closed)
        assert ended == due, f"ends told: {ended}; failures closed: {due}"
        standing = {
            _key(one): {sink: set(ids) for sink, ids in one["notified"].items()}
            for one in incidents.values()
            if one["closed_at"] is None
        }
        assert standing == self.open, f"open: {standing}; told and not ended: {self.open}"
        self._none_is_stuck(incidents, lives)
        self._incidents = incidents

    def _opened(self, event: Notified, opened: set[tuple[str, Key]]) -> None:
        failures = event.document["failures"]
        partial = [place for place, failure in enumerate(failures) if failure["serial"] == PARTIAL_SERIAL]
        due: dict[str, list[int] | None] = {CHAT: None, MUTE: None}
        if partial:
            due[PARTIAL] = None if len(partial) == len(failures) else partial
        if event.type == "job.progress":
            del due[MUTE]
        got = {sent.sink: sent.shown for sent in event.deliveries}
        assert got == due, f"{event.type} went to {got}, not to {due}"
        assert not any(sent.waits for sent in event.deliveries)
        for place, failure in enumerate(failures):
            key = _key(failure | {"last_job_uid": event.uid})
            if key not in self.open:
                stands = (event.id, key) in opened
                assert stands or not failure["new"], f"{key} was told failed and does not stand open"
                if not stands:
                    continue
            audience = self.open.setdefault(key, {})
            for sent in event.deliveries:
                if sent.shown is None or place in sent.shown:
                    audience.setdefault(sent.sink, set()).add(sent.id)

    def _recovered(self, event: Notified, ended: Counter[tuple[object, ...]]) -> None:
        due: dict[str, Sent] = {}
        recoveries = event.document["recoveries"]
        for place, recovery in enumerate(recoveries):
            pair = recovery["serial"], recovery["feature_id"]
            ended[(*pair, recovery["failed_job_id"], f"job {event.document['job']['id']}")] += 1
            key = _key(recovery | {"last_job_uid": event.uid})
            assert key in self.open, f"the end of {key} was told, which was not open"
            for sink, deliveries in self.open.pop(key).items():
                if sink != MUTE:
                    sent = due.setdefault(sink, Sent("", sink, [], ""))
                    assert sent.shown is not None
                    sent.shown.append(place)
                    sent.waits |= deliveries
        got = {sent.sink: (sent.shown, sent.waits) for sent in event.deliveries if sent.sink}
        whole = list(range(len(recoveries)))
        assert got == {
            sink: (None if sent.shown == whole else sent.shown, sent.waits) for sink, sent in due.items()
        }
        assert all(sent.waits <= self._deliveries for sent in event.deliveries), (
            "it waits for what is not there"
        )

    @staticmethod
    def _none_is_stuck(incidents: Mapping[str, dict[str, Any]], lives: Iterable[Life]) -> None:
        """No failure stands open that the very job which left it has meanwhile pushed with success."""
        of = {life.uid: life for life in lives}
        for one in incidents.values():
            if one["closed_at"] is None and (life := of.get(one["last_job_uid"])):
                outcome = life.last.outcomes.get((one["serial"], one["feature_id"]))
                assert outcome != "succeeded", f"{_key(one)} works again, and stands open"


def _key(incident: Mapping[str, Any]) -> Key:
    pair = incident["serial"], incident["feature_id"]
    return pair, "" if None not in pair else incident["last_job_uid"]
