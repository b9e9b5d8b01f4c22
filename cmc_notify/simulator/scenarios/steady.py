"""An ordinary day: small pushes at regular intervals, forever, most of them successful."""

from functools import partial

from cmc_notify.simulator.stage import Failing, Stage
from cmc_notify.simulator.texts import SHARED


def steady(stage: Stage, appliances: int = 40, every: float = 300.0, failure_rate: float = 0.1) -> None:
    """Plan a push ``every`` virtual seconds; a share of ``failure_rate`` of them fails in part."""
    fleet = stage.catalog.grow(max(appliances, 1))

    def push() -> None:
        some = stage.chance.sample(fleet, min(len(fleet), stage.chance.randint(1, 8)))
        features = stage.chance.sample(range(1, 9), stage.chance.randint(1, 2))
        job = stage.queue(some, features, by="appliance_serial_numbers", backup=stage.chance.random() < 0.5)  # noqa: PLR2004  a coin
        failing: Failing = {}
        if stage.chance.random() < failure_rate:
            failing[some[0].serial, features[0]] = stage.chance.choice(SHARED)
        now = stage.clock.now
        seconds = every * stage.chance.uniform(0.3, 0.8)
        stage.clock.at(
            now + every / 10, partial(stage.push, job, some, seconds=seconds, failing=failing, batches=4)
        )
        stage.clock.at(now + every, push)

    stage.at(min(10.0, every), push)
