"""``check``: finds every error that can be found before the bridge starts, each with its location."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from cmc_notify.app import Plugins, make_renderer, make_sink
from cmc_notify.cli.common import read_settings, run_async
from cmc_notify.cli.options import ConfigOption, single
from cmc_notify.cli.output import FAILED, print_lines, warn
from cmc_notify.controller import Controller
from cmc_notify.core.outcome import Sent
from cmc_notify.errors import CmcNotifyError, ConfigError, TemplateError
from cmc_notify.rendering import check_templates
from cmc_notify.settings import Settings
from cmc_notify.settings.config_warnings import config_warnings
from cmc_notify.settings.suggestions import did_you_mean

EXTRA_TIME = 5.0
"""Seconds in addition to a sink's own time-out, so that it can report the error itself."""

CheckResult = tuple[bool, str]
"""True if it works, and a line about it."""


def check(
    config: ConfigOption = None,
    online: Annotated[
        bool,
        typer.Option(
            "--online", help="Also sign in to each controller and sink, and check the rights needed there."
        ),
    ] = False,
) -> None:
    """Check the config, the templates and the routes."""
    settings, plugins = read_settings(config)
    if problems := [*_template_problems(settings, plugins)]:
        raise ConfigError(*dict.fromkeys(problems))
    for line in _warnings(settings):
        warn(line)
    print_lines(
        f"ok: {_count_and_names('controller', settings.controllers)}; "
        f"{_count_and_names('sink', settings.sinks)}; "
        f"{len(settings.routes)} {'route' if len(settings.routes) == 1 else 'routes'}; every template renders"
    )
    if online and not run_async(_online(settings, plugins)):
        raise SystemExit(FAILED)


def _count_and_names(word: str, names: object) -> str:
    listed = list(names) if isinstance(names, dict) else []
    return f"{word}{'' if len(listed) == 1 else 's'} {', '.join(listed)}"


def _template_problems(settings: Settings, plugins: Plugins) -> Iterator[str]:
    """Render each template with samples of every event, for each type of sink in the config."""
    renderer = make_renderer(settings, lambda _error: None, plugins=plugins)
    folder = settings.templates_dir
    if folder is not None:
        presets = [name for plugin in plugins.values() for name in plugin.presets]
        yield from _misnamed_folders(folder, [*plugins, *presets, "shared"])
        if unreadable := [*_unreadable(folder)]:
            yield from unreadable  # the renderer would name another file
            return
    for kind, extensions in sorted({plugins[each.type].documents(each) for each in settings.sinks.values()}):
        for fault in check_templates(renderer, kind, extensions):
            yield _with_location(fault, folder)


def _with_location(fault: TemplateError, folder: Path | None) -> str:
    """Return the error with the path of its file as the user can open it."""
    file = fault.template
    if folder is not None and (folder / file).exists():
        file = str(folder / file)
    return f"{file}:{fault.line}: {fault.message}" if fault.line else f"{file}: {fault.message}"


def _unreadable(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*.j2")):
        try:
            path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            yield f"{path}:{line}: not UTF-8 text; save the file as UTF-8"
        except OSError as error:
            yield f"{path}: can't be read: {error.strerror}; check the file's permissions"


def _misnamed_folders(folder: Path, known: list[str]) -> Iterator[str]:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and path.name not in known and (hint := did_you_mean(path.name, known)):
            yield f"{path}: this folder is never used: there is no sink type {path.name!r}; {hint}"


def _warnings(settings: Settings) -> list[str]:
    """Return warnings about valid but dangerous settings, one line for each key."""
    lines = [
        line for name, each in settings.controllers.items() for line in Controller(name, each).warnings
    ] + [*config_warnings(settings)]
    by_key: dict[str, str] = {}
    for line in lines:
        by_key.setdefault(line.split(" ")[0].rstrip(":"), line)
    return list(by_key.values())


async def _online(settings: Settings, plugins: Plugins) -> bool:
    """Check all at the same time; the lines come in the order of the config."""
    checks = [_check_controller(name, settings) for name in settings.controllers]
    checks += [_check_sink(name, settings, plugins) for name in settings.sinks]
    results = await asyncio.gather(*checks)
    for works, line in results:
        print_lines(f"{'ok' if works else 'failed'}: {line}")
    return all(works for works, _ in results)


async def _check_controller(name: str, settings: Settings) -> CheckResult:
    async with Controller(name, settings.controllers[name]) as controller:
        try:
            await controller.sign_in()
        except CmcNotifyError as error:
            return False, f"controllers.{name}: {error}"
    return True, f"controllers.{name}: signed in; jobs and features can be read"


async def _check_sink(name: str, settings: Settings, plugins: Plugins) -> CheckResult:
    renderer = make_renderer(settings, lambda _error: None, plugins=plugins)
    sink = make_sink(name, settings.sinks[name], plugins, renderer)
    try:
        async with asyncio.timeout(settings.sinks[name].timeout + EXTRA_TIME):
            outcome = await sink.probe()
    except TimeoutError:
        return False, f"sinks.{name}: no response within {settings.sinks[name].timeout:g} s"
    finally:
        await sink.close()
    if isinstance(outcome, Sent):
        return True, f"sinks.{name}: reached{f' ({outcome.receipt})' if outcome.receipt else ''}"
    return False, f"sinks.{name}: {outcome.reason}"


app = single(check)
