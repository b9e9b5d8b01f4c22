"""How a sink is found: an entry point of the group ``cmc_notify.sinks`` that names a SinkPlugin.

Ours are registered in ``pyproject.toml`` exactly as a third party's are in theirs.
"""

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from msgspec import Struct

from cmc_notify.errors import ConfigError
from cmc_notify.ports import Renderer, Sink
from cmc_notify.settings.base import SinkSettings

GROUP = "cmc_notify.sinks"


class SinkPlugin(Struct, frozen=True):
    """A sink type: its settings, how to build one, and the template documents that it asks for."""

    settings: type[SinkSettings]
    build: Callable[[str, Any, Renderer], Sink]
    """``build(name, settings, renderer)``; must not do I/O."""
    extensions: tuple[str, ...]
    """Template extensions in ``templates/<type>/``, in the order that ``preview`` shows them."""
    templates: Path | None = None
    """A folder that holds ``<type>/…``, for a sink from another package; the user's own templates are
    searched before it, and ours after it.
    """
    presets: Mapping[str, tuple[str, ...]] = {}
    """For a type with presets: the extensions of each, in a template folder that is called as the preset."""

    def documents(self, settings: SinkSettings) -> tuple[str, tuple[str, ...]]:
        """The template folder, and the extensions in it, that a sink with these settings asks for."""
        preset = getattr(settings, "preset", None)
        if isinstance(preset, str) and preset in self.presets:
            return preset, self.presets[preset]
        return settings.type, self.extensions


def load_plugins() -> Mapping[str, SinkPlugin]:
    """Every installed sink type by name. Raises ConfigError for one that can't be loaded."""
    plugins: dict[str, SinkPlugin] = {}
    for point in entry_points(group=GROUP):
        try:
            found = point.load()
        except Exception as error:
            raise ConfigError(
                f"sink type {point.name!r} ({point.value}): can't be loaded: {error}; repair its package"
            ) from error
        if not isinstance(found, SinkPlugin):
            raise ConfigError(
                f"sink type {point.name!r} ({point.value}): is no SinkPlugin; see docs/sinks.md"
            )
        plugins[point.name] = found
    return plugins
