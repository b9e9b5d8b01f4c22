"""Checks templates before they are needed: renders each against every sample event."""

import difflib
from collections.abc import Iterator, Sequence

from cmc_notify.core.events import EventType
from cmc_notify.core.samples import HOSTILE_TEXT, many_failures, samples
from cmc_notify.errors import TemplateError
from cmc_notify.ports import Acknowledgement, Message, Purpose, Silenced, Ticket
from cmc_notify.rendering.blocks import unused_blocks
from cmc_notify.rendering.formats import format_of
from cmc_notify.rendering.renderer import Renderer

_DEFAULT = "default"
_TICKETS = (
    Ticket("tickets", "job:emea:42", "INC0012345", "https://tickets.example.net/INC0012345", open=True),
    Ticket("tickets", "job:emea:42", HOSTILE_TEXT, None, open=False),
)
_TAKEN = Acknowledgement(HOSTILE_TEXT, 1795425600.0)
_SILENCED = Silenced(HOSTILE_TEXT, 1795425600.0, with_job=False)


def check_templates(renderer: Renderer, sink_type: str, extensions: Sequence[str]) -> list[TemplateError]:
    """Return every error of the templates that a sink of this type can use, each once.

    Files in the user's folders that are never used (a misspelt event type) are errors too, and so are blocks
    that no parent has. Names that begin with ``_`` are parts of other templates and are not checked alone.
    """
    faults = [
        *_unreachable(renderer, sink_type, extensions),
        *_unused_blocks(renderer, sink_type, extensions),
    ]
    for extension in extensions:
        for event in samples():
            for brief in (False, True):
                message = Message(
                    key="sample",
                    event=event,
                    is_test=brief,
                    unclear=brief,
                    purpose=Purpose.FOLLOW if brief else Purpose.NOTIFY,
                    tickets=_TICKETS if brief else (),
                    acknowledged=_TAKEN if brief else None,
                    silenced=_SILENCED if brief else None,
                )
                try:
                    renderer.render_strictly(sink_type, extension, message, brief=brief)
                except TemplateError as fault:
                    faults.append(fault)
        if renderer.templates_dirs:  # tests check the built-in ones
            try:
                renderer.render_strictly(sink_type, extension, Message(key="sample", event=many_failures()))
            except TemplateError as fault:
                faults.append(fault)
    return list({str(fault): fault for fault in faults}.values())


def _unreachable(renderer: Renderer, sink_type: str, extensions: Sequence[str]) -> Iterator[TemplateError]:
    for folder in renderer.templates_dirs:
        if not folder.is_dir():
            yield TemplateError(str(folder), None, "is not a folder; correct templates_dir")
        for path in sorted(folder.glob(f"{sink_type}/*")):
            if path.name.startswith(("_", ".")) or path.is_dir():
                continue
            problem = _misnamed(path.name, extensions)
            if problem:
                yield TemplateError(f"{sink_type}/{path.name}", None, f"is never used: {problem}")


def _unused_blocks(renderer: Renderer, sink_type: str, extensions: Sequence[str]) -> Iterator[TemplateError]:
    """Yield unused blocks of the user's files, also in shared templates and parts."""
    for folder in renderer.templates_dirs:
        for part in (sink_type, "shared"):
            for path in sorted(folder.glob(f"{part}/**/*.j2")):
                extension = path.name.removesuffix(".j2").rpartition(".")[2]
                # A part without its own extension is read in any format.
                asked = extension if extension in extensions else extensions[0]
                yield from unused_blocks(
                    renderer.environment(format_of(asked)), path.relative_to(folder).as_posix()
                )


def _misnamed(file: str, extensions: Sequence[str]) -> str | None:
    stem, _, j2 = file.rpartition(".")
    kind, _, extension = stem.rpartition(".")
    if j2 != "j2":
        return "name it <event type>.<extension>.j2"
    if extension not in extensions:
        return f"this sink uses {', '.join(f'*.{each}.j2' for each in extensions)}"
    if kind == _DEFAULT or kind in list(EventType):
        return None
    close = difflib.get_close_matches(kind, [*EventType, _DEFAULT], n=1)
    page = "docs/reference/templates.md lists the event types"
    hint = f"did you mean {str(close[0])!r}?" if close else page
    return f"no event type is called {kind!r}; {hint}"
