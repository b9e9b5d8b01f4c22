"""Two sink types, and a small config."""

from collections.abc import Callable
from typing import Literal

import pytest
from pydantic import SecretStr

from cmc_notify.errors import ConfigError
from cmc_notify.settings import Settings
from cmc_notify.settings.base import Part, SinkSettings


class Chat(SinkSettings):
    """A sink with a secret, a list and a section of its own."""

    class Style(Part):
        """A section below a sink."""

        emoji: bool = True
        width: int = 80

    type: Literal["chat"] = "chat"
    token: SecretStr
    channels: tuple[str, ...] = ()
    style: Style = Style()


class Screen(SinkSettings):
    """A sink that takes only what all sinks take."""

    type: Literal["screen"] = "screen"


SINK_TYPES: dict[str, type[SinkSettings]] = {"chat": Chat, "screen": Screen}

SMALL = """
controllers:
  emea:
    url: https://cmc.example.net/
sinks:
  screen: {type: screen}
routes:
  - sinks: [screen]
"""

Load = Callable[..., Settings]


def problems(read: Load, text: str, **environ: str) -> tuple[str, ...]:
    """Return the problems of a config."""
    with pytest.raises(ConfigError) as refused:
        read(text, **environ)
    return refused.value.problems
