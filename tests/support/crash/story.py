"""One story of a controller and two receivers, told step by step to a bridge that may die in any of them.

A step begins with a change, at the bridge's next request, and ends when all that must be told of it is in
the ledger and done with. So each change is seen alone, and what must be told does not depend on when the
bridge died. Each job is told to one receiver, ``hook`` (site 1) or ``mail`` (site 2), and each receiver
takes one delivery at a time: at most one is in flight.
"""

from collections.abc import Callable
from dataclasses import dataclass

from cmc_notify.boundaries import Boundary
from cmc_notify.simulator import Simulator
from cmc_notify.simulator.receiver import ScriptedResponse
from cmc_notify.simulator.wire import Row
from support.crash.receivers import Receivers

POLL = frozenset({Boundary.POLL_FETCHED, Boundary.POLL_WRITTEN, Boundary.POLL_COMMITTED})
PART = frozenset({Boundary.DELIVERY_PART_ACCEPTED, Boundary.DELIVERY_PART_RECORDED})
NEWS = frozenset({Boundary.SINK_EVENT_WRITTEN, Boundary.SINK_EVENT_COMMITTED})
LEAD = frozenset({Boundary.LEADERSHIP_TAKEN, Boundary.LEADERSHIP_RELEASED})
DELIVERY = frozenset(
    {
        Boundary.DELIVERY_CLAIMED,
        Boundary.DELIVERY_ATTEMPTED,
        Boundary.DELIVERY_WRITTEN,
        Boundary.DELIVERY_RECORDED,
    }
)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One change and what comes of it."""

    change: Callable[[], None]
    tells: int
    """How many deliveries it adds."""
    held: int = 0
    """How many of them stay unfinished, since a receiver refuses."""
    passes: frozenset[Boundary] = POLL | DELIVERY
    """Where the bridge can be made to die in it."""
    poll: int = 1
    """At which passing of a poll's boundary that is, counted from the change."""
    delivery: int = 1
    """At which passing of any other."""

    def passing(self, boundary: Boundary) -> int:
        """At which passing of ``boundary`` the bridge dies."""
        return self.poll if boundary in POLL else self.delivery


class Story:
    """The steps, each of which may be taken once, in this order."""

    def __init__(self, sim: Simulator, receivers: Receivers) -> None:
        self._sim = sim
        self._receivers = receivers
        self._add = sim.jobs.add
        self.steps = (
            Step(change=self.two_are_queued, tells=2),
            Step(change=self.one_fails_in_part_and_one_before_it_began, tells=3, delivery=2),
            Step(change=self.the_first_ends_failed, tells=1),
            Step(change=self.the_other_site_fails, tells=1, passes=POLL | DELIVERY | PART),
            Step(change=self.a_later_push_succeeds, tells=2, delivery=2),
            Step(change=self.the_first_runs_again, tells=2),
            Step(change=self.the_other_site_recovers, tells=2, passes=POLL | DELIVERY | PART, delivery=3),
            Step(change=self.the_controller_is_lost, tells=1, poll=2),
            Step(change=self.the_controller_is_back, tells=1),
            Step(change=self.a_message_is_rejected, tells=2),
            Step(change=self.the_hook_wants_another_token, tells=2, held=1, passes=POLL | DELIVERY | NEWS),
            # What it tells is not counted here: the bridge may die before it knows that the hook works again.
            Step(change=self.the_hook_takes_all_again, tells=0, passes=DELIVERY | NEWS),
            Step(change=self.one_is_canceled, tells=2, passes=frozenset()),
        )

    def two_are_queued(self) -> None:
        """Two events in one commit."""
        self._first = self._add(
            site_ids=[1], feature_ids=[3], rows=[Row("V2AB00001", 3), Row("V2AB00002", 3)]
        )
        self._second = self._add(site_ids=[1], feature_ids=[1])

    def one_fails_in_part_and_one_before_it_began(self) -> None:
        """Two jobs, three events."""
        with self._first.change():
            self._first.start()
            self._first.set_row("V2AB00001", 3, "Fail", "no such class: voice")
        self._second.finish("Failed", error_text="no route to the interpreter")

    def the_first_ends_failed(self) -> None:
        """An end with one pair that was told and one that is new."""
        with self._first.change():
            self._first.set_row("V2AB00002", 3, "Fail", "the push timed out")
            self._first.finish("Failed")

    def the_other_site_fails(self) -> None:
        """A mail, in two parts."""
        self._done("Failed", 2, Row("V2AB00009", 5, "Completed", "Fail", "certificate expired"))

    def a_later_push_succeeds(self) -> None:
        """A recovery of two pairs, and an end."""
        self._done("Success", 1, *(Row(f"V2AB0000{n}", 3, "Completed", "Success") for n in (1, 2)))

    def the_first_runs_again(self) -> None:
        """A finished job is running."""
        self._first.rerun()

    def the_other_site_recovers(self) -> None:
        """Two mails, in two parts each."""
        self._done("Success", 2, Row("V2AB00009", 5, "Completed", "Success"))

    def the_controller_is_lost(self) -> None:
        """Told at the second poll that fails."""
        self._outage = self._sim.faults.begin("500", self._sim.now)

    def the_controller_is_back(self) -> None:
        """Told at the first poll that goes through."""
        self._outage.ended = self._sim.now

    def a_message_is_rejected(self) -> None:
        """A dead letter, and a mail in its place."""
        self._receivers.hook.otherwise = ScriptedResponse(status=400)
        self._add(site_ids=[1], status="Failed", error_text="locked by another administrator")

    def the_hook_wants_another_token(self) -> None:
        """A delivery that is held, and news of it for the other receiver."""
        self._receivers.hook.otherwise = ScriptedResponse(status=401)
        with self._first.change():
            for serial in ("V2AB00001", "V2AB00002"):
                self._first.set_row(serial, 3, "Success")
            self._first.finish("Success")

    def the_hook_takes_all_again(self) -> None:
        """What was held goes out, and the other receiver hears of it."""
        self._receivers.hook.otherwise = ScriptedResponse()

    def one_is_canceled(self) -> None:
        """An end after all."""
        self._add(site_ids=[1], status="Canceled")

    def _done(self, status: str, site: int, *rows: Row) -> None:
        now = self._sim.jobs.now
        self._add(status=status, site_ids=[site], rows=rows, push_time=now, completion_time=now)
