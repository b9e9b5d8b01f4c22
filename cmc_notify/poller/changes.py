"""The changes that one poll found: in a job that was seen, by a job's absence, or by time alone."""

from collections.abc import Collection, Iterable, Mapping

from msgspec import Struct

from cmc_notify.core.diff import Change, PollPolicy, check_deadlines, compare, mark_vanished
from cmc_notify.core.model import Job, JobState, Outcome, Pair
from cmc_notify.poller.time_slices import TimeSlices


class ChangeFinder(Struct, frozen=True, kw_only=True):
    """Finds the changes of one poll, by its time and its policy."""

    now: float
    """The time by our own clock, in Unix seconds."""
    controller_now: float
    """The time by the controller's clock, in Unix seconds."""
    policy: PollPolicy

    async def changes(
        self,
        observations: Mapping[str, list[Job]],
        states: Mapping[str, JobState],
        followed: Mapping[str, JobState],
        gone: Collection[str],
    ) -> dict[str, list[Change]]:
        """Return the changes of each job by uid, in order; jobs without any are left out.

        ``states`` holds the last seen state of every known job in ``observations``. ``followed`` holds the
        jobs that each poll must see, ``gone`` the uids that the controller no longer has.
        """
        result: dict[str, list[Change]] = {}
        slices = TimeSlices()
        for uid, steps in observations.items():
            await slices.yield_if_due()
            if changes := self._observed(uid, steps, states.get(uid)):
                result[uid] = changes
        for uid, state in followed.items():
            if uid in gone:
                result.setdefault(uid, []).append(self._vanished(state))
            elif uid not in result and (change := self._expired(state)):
                result[uid] = [change]
        return result

    def settled(self, followed: Mapping[str, JobState]) -> dict[str, list[Change]]:
        """Return the changes of jobs that waited for their details long enough."""
        ends = {
            uid: self._expired(state) for uid, state in followed.items() if state.settle_until is not None
        }
        return {uid: [end] for uid, end in ends.items() if end is not None}

    def _observed(self, uid: str, steps: list[Job], state: JobState | None) -> list[Change]:
        result: list[Change] = []
        for job in steps:
            changes = compare(
                state,
                job,
                uid=uid,
                now=self.now,
                controller_now=self.controller_now,
                policy=self.policy,
            )
            if changes:
                result.extend(changes)
                state = changes[-1].state
        return result

    def _vanished(self, state: JobState) -> Change:
        return mark_vanished(state, now=self.now, controller_now=self.controller_now, policy=self.policy)

    def _expired(self, state: JobState) -> Change | None:
        return check_deadlines(state, now=self.now, controller_now=self.controller_now, policy=self.policy)


def successes(states: Iterable[JobState]) -> dict[Pair, list[JobState]]:
    """Return, by pair, the jobs that pushed it with success, the earliest first."""
    result: dict[Pair, list[JobState]] = {}
    for state in sorted(states, key=lambda state: state.job.order):
        for pair, outcome in state.job.outcomes().items():
            if outcome is Outcome.SUCCEEDED:
                result.setdefault(pair, []).append(state)
    return result
