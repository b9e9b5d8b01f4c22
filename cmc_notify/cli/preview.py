"""``preview``: prints exactly what would be sent, for any event and any sink. It opens no connection."""

import html
import json
import os
import sys
import tempfile
import webbrowser
from collections.abc import Iterator, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from cmc_notify.app import Plugins, make_renderer, make_sink
from cmc_notify.cli.common import known_name, read_settings
from cmc_notify.cli.file_watch import changes
from cmc_notify.cli.options import ConfigOption, single
from cmc_notify.cli.output import fail, note, print_lines, warn
from cmc_notify.cli.preview_html import is_slack_message, slack_page, slack_text
from cmc_notify.cli.preview_mail import SUFFIX, mail_page, mail_text
from cmc_notify.core.events import Event, EventType
from cmc_notify.core.samples import sample
from cmc_notify.core.text import visible
from cmc_notify.core.ticketing import CHANGING, OPENING
from cmc_notify.errors import ConfigError
from cmc_notify.ports import Message, PreviewDocument, Previewing
from cmc_notify.rendering import Renderer
from cmc_notify.settings import Settings
from cmc_notify.settings.loader import find_config

_HEAD = """<!doctype html><html lang=en><meta charset=utf-8><title>cmc-notify preview</title>
<meta name=viewport content="width=device-width, initial-scale=1"><style>
:root{color-scheme:light dark}body{font:15px/22px system-ui,sans-serif;margin:16px}
h2{font-size:18px;margin:24px 0 4px}
th,td{text-align:left;font-weight:400;padding:2px 24px 2px 0;vertical-align:top}</style>
<h1>What would be sent</h1>"""
Target = tuple[str, EventType]
Preview = tuple[Target, Sequence[PreviewDocument]]
"""Sink and event type, with the documents that the sink would send."""


def preview(
    config: ConfigOption = None,
    event: Annotated[str | None, typer.Option("--event", help="One event type. Default: all.")] = None,
    sink: Annotated[str | None, typer.Option("--sink", help="One sink. Default: all.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write files into this folder; print nothing.")
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open the files in the browser.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Repeat each time that a template or the config is saved.")
    ] = False,
) -> None:
    """Print exactly what would be sent; send nothing."""
    if not watch:
        _once(config, event, sink, out, show=show)
        return
    folder = out or (Path(tempfile.mkdtemp(prefix="cmc-notify-preview-")) if show else None)
    with suppress(KeyboardInterrupt):
        for round_, _ in enumerate(changes(lambda: _watched(config))):
            try:
                _once(config, event, sink, folder, show=show and round_ == 0)
            except ConfigError as error:  # the user is still editing: the next save may be valid
                warn(str(error))
            note("waiting for a template or the config to be saved; press Ctrl-C to stop")


def _watched(config: Path | None) -> list[Path]:
    """Return the config file and the folder of the user's templates, if they are known."""
    file = config or find_config(os.environ)
    found = [file] if file else []
    with suppress(ConfigError):
        settings, _ = read_settings(config)
        if settings.templates_dir:
            found.append(settings.templates_dir)
    return found


def _once(config: Path | None, event: str | None, sink: str | None, out: Path | None, *, show: bool) -> None:
    settings, plugins = read_settings(config)
    kinds = [EventType(known_name(event, [*EventType], "event type"))] if event else [*EventType]
    sinks = [known_name(sink, settings.sinks, "sink")] if sink else [*settings.sinks]
    if event and sink and not _accepts(kinds[0], sink, settings):
        note(f"this event opens, changes or closes no ticket: {kinds[0]} to {sink}")
    elif event and sink and not _can_reach(kinds[0], sink, settings):
        note(f"no route sends this event to this sink: {kinds[0]} to {sink}")
    previews = _previews(
        settings,
        plugins,
        [(name, kind) for name in sinks for kind in kinds if event or _accepts(kind, name, settings)],
    )
    if out is None and not show:
        for target, documents in previews:
            _print(target, documents)
        return
    folder = out or Path(tempfile.mkdtemp(prefix="cmc-notify-preview-"))
    index = _write(folder, list(previews))
    print_lines(f"written to {folder}")
    if show and not webbrowser.open(index.absolute().as_uri()):
        fail(f"error: the browser did not start; open {index} yourself")


def _accepts(kind: EventType, sink: str, settings: Settings) -> bool:
    """Return True if the sink sends events of this type, whatever the routes say."""
    return not settings.sinks[sink].opens_tickets or kind in OPENING | CHANGING


def _can_reach(kind: EventType, sink: str, settings: Settings) -> bool:
    """Return True if the routes can send an event of this type to the sink."""
    if kind is EventType.APPLIANCE_RECOVERED:  # it follows the failures
        failures = (EventType.JOB_FAILED, EventType.APPLIANCE_FAILED)
        return settings.sinks[sink].send_resolved and any(
            _can_reach(each, sink, settings) for each in failures
        )
    for rule in settings.routes:
        match = rule.match
        if match.event and not any(fnmatchcase(kind, pattern) for pattern in match.event):
            continue
        if sink in rule.sinks:
            return True
        narrowed = match.controller or match.feature or match.serial or match.site_id
        if not rule.continue_ and not narrowed:
            return False
    return False


def _previews(settings: Settings, plugins: Plugins, targets: Sequence[Target]) -> Iterator[Preview]:
    renderer = make_renderer(
        settings, lambda error: warn(f"the plain message would be sent instead: {error}"), plugins=plugins
    )
    for name, kind in targets:
        event = _event(kind, settings)
        subject = f"job:{event.controller}:{event.job.id}" if event.job else "preview"
        message = Message(key="preview", event=event, subject=subject)
        found = make_sink(name, settings.sinks[name], plugins, renderer)
        if isinstance(found, Previewing):
            yield (name, kind), found.preview(message)
        else:
            folder, extensions = plugins[settings.sinks[name].type].documents(settings.sinks[name])
            yield (name, kind), [*_rendered(renderer, folder, extensions, message)]


def _rendered(
    renderer: Renderer, kind: str, extensions: Sequence[str], message: Message
) -> Iterator[PreviewDocument]:
    """Yield the documents of a third-party sink without its own preview."""
    for extension in extensions:
        yield PreviewDocument(f"message.{extension}", renderer.render(kind, extension, message).text)


def _event(kind: EventType, settings: Settings) -> Event:
    """Return the sample event, with a link if messages would have one."""
    found = sample(kind)
    base = settings.http.external_url
    return msgspec.structs.replace(found, url=f"{base}/events/{found.id}?…" if base else None)


def _print(target: Target, documents: Sequence[PreviewDocument]) -> None:
    """Print documents: on a terminal as their reader sees them, in a pipe unchanged."""
    for document in _for_reader(documents) if sys.stdout.isatty() else documents:
        if not document.name.endswith(SUFFIX):  # the other documents have the same content
            title = f"──── {target[0]} · {target[1]} · {document.name} ────"
            print_lines(title, document.text.rstrip("\n"), "")


def _for_reader(documents: Sequence[PreviewDocument]) -> Iterator[PreviewDocument]:
    mails = [document for document in documents if document.name.endswith(SUFFIX)]
    if mails:
        yield from (PreviewDocument("mail", mail_text(mail.text)) for mail in mails)
        return
    for document in documents:
        yield PreviewDocument(document.name, visible(_readable(document.text)))


def _readable(text: str) -> str:
    """Return a message as its reader sees it, JSON indented, other text unchanged."""
    if is_slack_message(text):
        return slack_text(text)
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        return text


def _write(folder: Path, previews: Sequence[Preview]) -> Path:
    """Write a folder for each sink and event type, and a page with all links; return the page."""
    rows: dict[str, list[str]] = {}
    try:
        for (name, kind), documents in previews:
            below = folder / name / kind
            below.mkdir(parents=True, exist_ok=True)
            links = []
            for file, text, remark in _files(documents):
                path = below / file
                path.write_text(text, encoding="utf-8", errors="replace", newline="")
                link = html.escape(str(path.relative_to(folder)))
                links.append(f'<a href="{link}">{html.escape(file)}</a>{remark}')
            rows.setdefault(name, []).append(f"<tr><th>{kind}<td>{'<td>'.join(links)}")
        index = folder / "index.html"
        tables = (f"<h2>{name}</h2><table>{chr(10).join(each)}</table>" for name, each in rows.items())
        index.write_text("\n".join([_HEAD, *tables, ""]), encoding="utf-8")
    except OSError as error:
        fail(f"error: {error.filename}: can't be written: {error.strerror}; write --out with another folder")
    return index


def _files(documents: Sequence[PreviewDocument]) -> Iterator[tuple[str, str, str]]:
    """Yield name, content and note of each file: first the page for people, then the sent documents."""
    if any(is_slack_message(document.text) for document in documents):
        yield "slack.html", slack_page(*documents), " (as Slack shows it, with the thread)"
    for document in documents:
        if document.name.endswith(SUFFIX):
            yield "mail.html", mail_page(document.text), " (as a mail reader shows it)"
    for document in documents:
        yield document.name, document.text, ""


app = single(preview)
