"""A store opened by another process, and refusals."""

import pytest

from cmc_notify.errors import StoreError
from cmc_notify.store import open_store


def clock() -> float:
    """Any time."""
    return 1_795_425_600.0


async def refusal(url: str, *, exclusive: bool = True) -> StoreError:
    """Return the error that opening the store raises."""
    with pytest.raises(StoreError) as caught:
        await open_store(url, clock=clock, exclusive=exclusive)
    return caught.value
