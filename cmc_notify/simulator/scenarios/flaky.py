"""The night push over a bad network: outages of every kind in seeded bursts, sessions lost in between.

Outages never overlap, and after each one everything works for at least the same time.
"""

from typing import cast

from cmc_notify.simulator.faults import FAULT_KINDS, FaultKind
from cmc_notify.simulator.scenarios.night_push import night_push
from cmc_notify.simulator.stage import Stage

LENGTH = 42 * 60.0


def flaky(
    stage: Stage,
    appliances: int = 240,
    outage: float = 90.0,
    kinds: str = "timeout,500,cut,refuse,garbage,503,slow,401",
) -> None:
    """Plan the night and its outages, each about ``outage`` virtual seconds, of the given kinds in turn."""
    night_push(stage, appliances)
    wanted = [kind.strip() for kind in kinds.split(",") if kind.strip()]
    if unknown := set(wanted) - set(FAULT_KINDS):
        raise ValueError(
            f"there is no fault {', '.join(sorted(unknown))}; write some of {', '.join(FAULT_KINDS)}"
        )
    stage.chance.shuffle(wanted)
    when, number = outage, 0
    while wanted and when < LENGTH:
        length = outage * stage.chance.uniform(0.7, 1.3)
        stage.outage(cast("FaultKind", wanted[number % len(wanted)]), when, when + length)
        when += length * stage.chance.uniform(2.0, 3.0)
        number += 1
