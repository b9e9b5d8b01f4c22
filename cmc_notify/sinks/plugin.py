"""The registry of sink types: entry points of the group ``cmc_notify.sinks``, each naming a SinkPlugin.

The built-in ones are registered in ``pyproject.toml``, exactly as a third party registers its own.
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
    """A sink type: its settings, its factory, and the templates that it renders."""

    settings: type[SinkSettings]
    build: Callable[[str, Any, Renderer], Sink]
    """``build(name, settings, renderer)``; must not do I/O."""
    extensions: tuple[str, ...]
    """Template extensions in ``templates/<type>/``, in the order that ``preview`` shows them."""
    templates: Path | None = None
    """A folder that holds ``<type>/…``, for a sink from another package. The user's own templates are
    searched before it, the built-in ones after it.
    """
    presets: Mapping[str, tuple[str, ...]] = {}
    """For a type with presets: the extensions of each; its template folder has the preset's name."""

    def documents(self, settings: SinkSettings) -> tuple[str, tuple[str, ...]]:
        """Return the template folder and its extensions for a sink with these settings."""
        preset = getattr(settings, "preset", None)
        if isinstance(preset, str) and preset in self.presets:
            return preset, self.presets[preset]
        return settings.type, self.extensions


def load_plugins() -> Mapping[str, SinkPlugin]:
    """Return every installed sink type by name. Raises ConfigError for one that can't be loaded."""
    plugins: dict[str, SinkPlugin] = {}
    for point in entry_points(group=GROUP):
        try:
            found = point.load()
        except Exception as error:
            raise ConfigError(
                f"sink type {point.name!r} ({point.value}): can't be loaded: {error}; fix its package"
            ) from error
        if not isinstance(found, SinkPlugin):
            raise ConfigError(
                f"sink type {point.name!r} ({point.value}): is not a SinkPlugin; "
                "see docs/reference/sink-rules.md"
            )
        plugins[point.name] = found
    return plugins
