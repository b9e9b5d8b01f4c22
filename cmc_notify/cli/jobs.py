"""``jobs``: lists the jobs of a controller with every filter that it documents, shows one, cancels one."""

import time
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import typer

from cmc_notify.cli.common import for_people, opened_store, read_settings, run_async
from cmc_notify.cli.context_words import ticket_names
from cmc_notify.cli.controller_queries import (
    chosen_controller,
    host_names,
    names_of,
    query_controller,
    query_controllers,
)
from cmc_notify.cli.filters import find_feature_id, parse_status, parse_time
from cmc_notify.cli.options import ConfigOption, ControllerOption, JsonOption, actions
from cmc_notify.cli.output import print_facts, print_json, print_lines, print_table, warn
from cmc_notify.controller import Controller
from cmc_notify.core.events import JobInfo, job_info
from cmc_notify.core.model import Feature, Job, Names, Outcome, Status
from cmc_notify.errors import MalformedJob, StoreError
from cmc_notify.settings import Settings
from cmc_notify.web.documents import acknowledgement_document, ticket_document
from cmc_notify.web.job_context import NO_CONTEXT, JobContext, listed_job_context

app = actions("List the jobs of a controller, show one, or cancel one.")

SHOWN = 50
"""Jobs in a table without ``--limit``; JSON has all."""

Listed = tuple[list[Job], list[str], Sequence[Feature]]
"""Jobs, the errors of jobs that could not be read, features."""


@app.command("list")
def list_jobs(
    config: ConfigOption = None,
    controller: ControllerOption = None,
    status: Annotated[str | None, typer.Option("--status", help=f"{', '.join(Status)}.")] = None,
    feature: Annotated[str | None, typer.Option("--feature", help="A feature's id or name.")] = None,
    after: Annotated[
        str | None,
        typer.Option(
            "--after",
            help="A time such as 2026-11-23T09:00Z, Unix seconds, or how long ago: 2h. That is by the "
            "controller's clock if it sends one, else by this machine's clock.",
        ),
    ] = None,
    before: Annotated[str | None, typer.Option("--before", help="Like --after.")] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="The most rows to show, the newest first.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List jobs, the newest first. The controller applies the filters."""
    settings, _ = read_settings(config)
    wanted = parse_status(status)
    bounds = {"after": parse_time("--after", after), "before": parse_time("--before", before)}

    async def query(controller_client: Controller) -> Listed:
        features = await controller_client.list_features()
        now = time.time() + (controller_client.clock_offset or 0.0)
        times = {name: bound(now) for name, bound in bounds.items() if bound}
        jobs, unreadable = [], []
        found = await controller_client.list_jobs(
            status=wanted, feature_id=find_feature_id(feature, features), **times
        )
        for item in found:
            try:
                jobs.append(item.decode())
            except MalformedJob as error:
                unreadable.append(str(error))
        return jobs, unreadable, features

    responses = run_async(query_controllers(settings, controller, query))
    found = [(name, job, names_of(features)) for name, (jobs, _, features) in responses for job in jobs]
    found.sort(key=lambda each: (each[1].creation_time or 0, each[1].id), reverse=True)
    for name, (_, unreadable, _) in responses:
        for problem in unreadable:
            warn(f"{name}: a job can't be read: {problem}")
    if as_json:
        print_json([{"controller": name, **_document(job, names)} for name, job, names in found[:limit]])
        return
    shown = found[: limit or SHOWN]
    _print_jobs(shown, settings)
    if (left := len(found) - len(shown)) > 0:
        print_lines(f"… and {left:,} older ones; use --limit to show more")


@app.command("show")
def show_job(
    job_id: Annotated[int, typer.Argument(metavar="ID")],
    config: ConfigOption = None,
    controller: ControllerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one job with every row and the complete error texts."""
    settings, _ = read_settings(config)
    name = chosen_controller(settings, controller)

    async def query(controller_client: Controller) -> tuple[Job, Names]:
        job = (await controller_client.get_job(job_id)).decode()
        return job, names_of(await controller_client.list_features(), await host_names(controller_client))

    job, names = run_async(query_controller(settings, name, query))
    context = run_async(_read_context(settings, name, job))
    if as_json:
        known = {
            "tickets": [ticket_document(each) for each in context.tickets],
            "acknowledged": acknowledgement_document(context.acknowledged),
        }
        print_json({"controller": name, **_document(job, names), **known, "rows": _rows(job, names)})
        return
    _print_job(name, job, names, settings, context)


@app.command("cancel")
def cancel_job(
    job_id: Annotated[int, typer.Argument(metavar="ID")],
    config: ConfigOption = None,
    controller: ControllerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask the controller to cancel a job, and print the status it returns."""
    settings, _ = read_settings(config)
    name = chosen_controller(settings, controller)

    async def query(controller_client: Controller) -> tuple[Job, Names]:
        return await controller_client.cancel_job(job_id), names_of(await controller_client.list_features())

    job, names = run_async(query_controller(settings, name, query))
    if as_json:
        print_json({"controller": name, **_document(job, names)})
    else:
        print_lines(f"{name}: job {job.id} is {job.status}")


async def _read_context(settings: Settings, controller: str, job: Job) -> JobContext:
    """Return what the store knows about the job; NO_CONTEXT if there is no store or it can't be read."""
    try:
        async with opened_store(settings) as store:
            return await listed_job_context(store.ledger, controller, job)
    except StoreError:
        return NO_CONTEXT


def _document(job: Job, names: Names) -> dict[str, Any]:
    info = job_info(job, names, previous_status=None)
    built: dict[str, Any] = msgspec.to_builtins(info)
    for event_only in ("previous_status", "details_pending", "running_for", "url"):  # only an event has these
        del built[event_only]
    return built


def _rows(job: Job, names: Names) -> list[dict[str, Any]]:
    return [
        {
            "serial": row.serial,
            "appliance": names.appliance(row.serial),
            "feature_id": row.feature_id,
            "feature": names.feature(row.feature_id),
            "outcome": row.outcome.value,
            "error_text": row.error_text,
        }
        for row in job.rows
    ]


def _acknowledged_text(context: JobContext, settings: Settings) -> str | None:
    found = context.acknowledged
    return None if found is None else f"by {found.by}, {for_people(found.at, settings)}"


def _print_jobs(found: Sequence[tuple[str, Job, Names]], settings: Settings) -> None:
    print_table(
        ("controller", "id", "status", "created", "features", "targets", "results"),
        [
            (
                name,
                job.id,
                job.status,
                for_people(job.creation_time, settings),
                ", ".join(each.label for each in info.features),
                _targets(info),
                _results(info),
            )
            for name, job, names in found
            for info in [job_info(job, names, previous_status=None)]
        ],
        empty="No jobs match.",
        below=("features", "targets", "results"),
    )


def _targets(info: JobInfo) -> str:
    targets = info.targets
    for word, values in (
        ("site", targets.site_ids), ("site type", targets.site_type_ids), ("", targets.serials)
    ):  # fmt: skip
        if values:
            more = f" +{len(values) - 3}" if len(values) > 3 else ""  # noqa: PLR2004  three fit a column
            return f"{word} {', '.join(map(str, values[:3]))}{more}".strip()
    return ""


def _results(info: JobInfo) -> str:
    if info.error_text and not info.counts.failed:
        return "failed before it reached any appliance"
    counts = info.counts
    open_rows = counts.pending + counts.running
    return f"{counts.succeeded} ok, {counts.failed} failed{f', {open_rows} open' if open_rows else ''}"


def _print_job(name: str, job: Job, names: Names, settings: Settings, context: JobContext) -> None:
    info = job_info(job, names, previous_status=None)
    times = (job.creation_time, job.push_time, job.completion_time)
    created, pushed, completed = (for_people(each, settings) for each in times)
    print_facts(
        [
            ("Job", f"{job.id} on {name}"),
            ("Operation", job.operation),
            ("Status", job.status),
            ("Features", ", ".join(each.label for each in info.features)),
            ("Targets", _targets(info)),
            ("Created", created),
            ("Pushed", pushed),
            ("Completed", completed),
            ("Results", _results(info)),
            ("Pre-push error", job.error_text),
            *(
                ("Ticket", " ".join(filter(None, (ticket_names([each]), each.url))))
                for each in context.tickets
            ),
            ("Acknowledged", _acknowledged_text(context, settings)),
        ]
    )
    ordered = sorted(job.rows, key=lambda row: row.outcome is not Outcome.FAILED)
    if ordered:
        print_lines("")
        print_table(
            ("appliance", "serial", "feature", "outcome", "error"),
            [
                (
                    names.appliance(row.serial), row.serial, names.feature(row.feature_id),
                    row.outcome.value, row.error_text,
                )
                for row in ordered
            ],
            empty="",
        )  # fmt: skip
