"""The balance of leadership over replicas: evenly shared, with as few changes of leader as possible.

Replicas may want different names, for example during a rolling change of the config. Each replica decides
for itself from the data that all of them see. A change of leader always makes the loads more even, so the
changes end.
"""

from collections.abc import Collection, Mapping

Candidates = Mapping[str, Collection[str]]
"""By replica, the names that it would lead."""
Loads = Mapping[str, int]
"""By replica, the number of names that it leads; a replica without any may be absent."""


def sender_name(sink: str) -> str:
    """Return the name that a replica registers for a sink that it serves; no replica leads it."""
    return f"sink:{sink}"


def may_take(name: str, me: str, loads: Loads, candidates: Candidates) -> bool:
    """Return True if no other replica that would lead the name leads fewer."""
    mine = loads.get(me, 0)
    return all(mine <= loads.get(other, 0) for other, wanted in candidates.items() if name in wanted)


def names_to_release(mine: Collection[str], me: str, loads: Loads, candidates: Candidates) -> list[str]:
    """Return the names of ``mine`` that others should lead: such a replica leads at least two fewer now."""
    left = dict(loads)
    released = []
    for name in sorted(mine):
        others = [other for other, wanted in candidates.items() if other != me and name in wanted]
        successor = min(others, key=lambda other: (left.get(other, 0), other), default=None)
        if successor is not None and left.get(successor, 0) + 2 <= left.get(me, 0):
            released.append(name)
            left[me] -= 1
            left[successor] = left.get(successor, 0) + 1
    return released
