"""Renders messages. Guarantee: there is always a complete document, whatever a template does.

Templates are read once; a new Renderer (made when the config is reloaded) reads them again. A user's template
that takes too much time or memory is stopped, and not used for some minutes.
"""

import importlib.resources
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from zoneinfo import ZoneInfo

from cmc_notify.errors import ConfigError, TemplateError
from cmc_notify.ports import Message, Rendered, SizeLimits
from cmc_notify.rendering.context import context_of
from cmc_notify.rendering.environment import FormatEnvironment, candidates
from cmc_notify.rendering.filters import all_filters
from cmc_notify.rendering.formats import Format, format_of
from cmc_notify.rendering.overspent_files import FileSuspended, Spending, SuspendedFiles
from cmc_notify.rendering.plain_message import plain_message
from cmc_notify.rendering.template_errors import template_position, translate


def builtin_templates() -> Path:
    """Return the folder of the built-in templates: inside the package, else next to it in a checkout."""
    package = Path(str(importlib.resources.files("cmc_notify")))
    inside = package / "_templates"
    return inside if inside.is_dir() else package.parent / "templates"


_COSTLY = 0.2
"""Seconds: a template that failed and took longer is suspended."""


class Renderer:
    """Implements ports.Renderer over ``templates_dirs`` (searched first, in order), ``plugin_dirs`` (by sink
    type, each holding ``<sink type>/…``) and the built-in templates. Safe to use from several threads.

    ``on_fallback`` is called each time that the plain message replaces a template. Raises ConfigError for an
    unknown ``timezone``.
    """

    def __init__(
        self,
        templates_dirs: Sequence[Path] = (),
        *,
        plugin_dirs: Mapping[str, Path] = MappingProxyType({}),
        timezone: str = "UTC",
        on_fallback: Callable[[TemplateError], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        try:
            zone = ZoneInfo(timezone)
        except (KeyError, ValueError, OSError) as error:
            raise ConfigError(
                f"timezone: {timezone!r} is not a time zone; write for example Europe/Paris"
            ) from error
        self.templates_dirs = tuple(folder.resolve() for folder in templates_dirs)
        self._plugin_dirs = {kind: folder.resolve() for kind, folder in plugin_dirs.items()}
        self._builtin = builtin_templates().resolve()
        self._timezone = timezone
        self._filters = all_filters(zone)
        self._on_fallback = on_fallback
        self._suspended = SuspendedFiles(clock)
        self._spending = Spending(self._suspended)
        self._environments: dict[str, FormatEnvironment] = {}

    def render(
        self,
        sink_type: str,
        extension: str,
        message: Message,
        *,
        brief: bool = False,
        size_limits: SizeLimits | None = None,
    ) -> Rendered:
        """Return the document, or the plain message if the template fails; never raises."""
        try:
            return Rendered(
                self.render_strictly(sink_type, extension, message, brief=brief, size_limits=size_limits)
            )
        except TemplateError as error:
            self._on_fallback(error)
            text = plain_message(message, format_of(extension), error, brief=brief, size_limits=size_limits)
            return Rendered(text, fallback=str(error))

    def render_strictly(
        self,
        sink_type: str,
        extension: str,
        message: Message,
        *,
        brief: bool = False,
        size_limits: SizeLimits | None = None,
    ) -> str:
        """Return the document. Raises TemplateError for any error."""
        wanted = f"{sink_type}/{message.event.type}.{extension}.j2"
        form = format_of(extension)
        used = wanted
        with self._spending.on(message.event):
            began = time.thread_time()
            try:
                template = self.environment(form).select_template(candidates(wanted))
                used = template.name or wanted
                document = template.render(context_of(message, form, brief=brief, size_limits=size_limits))
                return form.finish(document.encode("utf-8", "replace").decode())
            except FileSuspended as suspended:
                fault = suspended.fault
                raise TemplateError(fault.template, fault.line, fault.message) from suspended
            except Exception as error:
                folders = (*self.templates_dirs, *self._plugin_dirs.values(), self._builtin)
                fault = translate(error, used, folders)
                file, _ = template_position(error)
                if file and time.thread_time() - began > _COSTLY:
                    self._suspended.put(file, self._spending.now().size, fault)
                raise fault from error

    def environment(self, form: Format) -> FormatEnvironment:
        """Return the environment that reads and compiles the templates of this format."""
        found = self._environments.get(form.name)
        if found is None:
            made = FormatEnvironment(
                form,
                self.templates_dirs,
                self._plugin_dirs,
                self._builtin,
                filters=self._filters,
                timezone=self._timezone,
                spending=self._spending,
            )
            # Sinks render in their own threads: if two come at once, both use the first environment.
            found = self._environments.setdefault(form.name, made)
        return found
