"""How replicas share the names that each need one of them: evenly, with as few changes of hands as possible.

Replicas may want different names, as during a rolling change of the config. Each replica decides for itself
by what all of them see; a change of hands only ever evens the loads out, so they come to rest.
"""

from collections.abc import Collection, Mapping

Candidates = Mapping[str, Collection[str]]
"""By replica, the names that it would lead."""
Loads = Mapping[str, int]
"""By replica, how many names it leads; none is left out as well as written 0."""


def sender_name(sink: str) -> str:
    """What a replica that serves the sink names beside what it would lead; nobody leads it."""
    return f"sink:{sink}"


def may_take(name: str, me: str, loads: Loads, candidates: Candidates) -> bool:
    """Whether no other replica that would lead the name has less to do."""
    mine = loads.get(me, 0)
    return all(mine <= loads.get(other, 0) for other, wanted in candidates.items() if name in wanted)


def names_to_release(mine: Collection[str], me: str, loads: Loads, candidates: Candidates) -> list[str]:
    """The names, of ``mine``, that others should lead: who takes one has at least two fewer before."""
    left = dict(loads)
    given = []
    for name in sorted(mine):
        others = [other for other, wanted in candidates.items() if other != me and name in wanted]
        taker = min(others, key=lambda other: (left.get(other, 0), other), default=None)
        if taker is not None and left.get(taker, 0) + 2 <= left.get(me, 0):
            given.append(name)
            left[me] -= 1
            left[taker] = left.get(taker, 0) + 1
    return given
