"""Load from the store what the events of one poll depend on: open failures, silences and later jobs."""

from collections.abc import Collection, Mapping, Sequence

from cmc_notify.core.diff import Change
from cmc_notify.core.event_builder import EventBuilder
from cmc_notify.core.events import EventType
from cmc_notify.core.failures import FailureTracker
from cmc_notify.core.model import JobState, Names, Pair, TrackedFailure
from cmc_notify.core.silences import Silence
from cmc_notify.errors import StaleSnapshot
from cmc_notify.poller.changes import successes
from cmc_notify.poller.notify_rules import NotifyRules
from cmc_notify.ports import PollStore


class BuilderLoader:
    """Makes the EventBuilder of each poll of one controller."""

    def __init__(self, controller: str, store: PollStore, rules: NotifyRules) -> None:
        self._controller = controller
        self._store = store
        self._rules = rules

    async def load(
        self,
        changes: Mapping[str, Sequence[Change]],
        names: Names,
        *,
        known: Collection[str],
        now: float,
        controller_now: float,
        outage: EventType | None = None,
    ) -> EventBuilder:
        """Return a builder for these changes, and for the controller's ``outage`` if there is one.

        ``known`` holds the uids of the jobs that the poller knows. Raises StaleSnapshot where the store
        knows more, and StoreUnavailable.
        """
        steps = [step for steps in changes.values() for step in steps]
        failing = [step for step in steps if any(draft.pairs for draft in step.drafts)]
        failures: list[TrackedFailure] = []
        silences: Sequence[Silence] = ()
        if steps:
            pairs = {pair for step in failing for draft in step.drafts for pair in draft.pairs}
            failures = list(await self._store.load_failures(self._controller, pairs))
        if steps or outage:
            silences = await self._store.load_silences(self._controller, now=now)
        later: dict[str, JobState] = {}
        if failing:
            first = min(step.job.order for step in failing)
            later = {state.uid: state for state in await self._store.states_after(self._controller, first)}
        for uid in changes:
            later.pop(uid, None)
        if later.keys() - known:  # an event about an unknown job could not be committed
            raise StaleSnapshot(f"{self._controller}: the store knows jobs of a later poll; poll again")
        pushed_after = successes(later.values())

        def later_success(pair: Pair, order: tuple[int, int]) -> JobState | None:
            return next((state for state in pushed_after.get(pair, ()) if state.job.order > order), None)

        return EventBuilder(
            self._controller,
            now=now,
            names=names,
            routes=self._rules.routes,
            sinks=self._rules.sinks,
            failures=FailureTracker(self._controller, failures, later_success),
            silences=silences,
            stored_job=later.get,
            controller_now=controller_now,
        )
