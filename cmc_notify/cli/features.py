"""``features``: lists the features that a controller can push, read from the controller."""

from typing import Annotated

import typer

from cmc_notify.cli.common import read_settings, run_async
from cmc_notify.cli.controller_queries import query_controllers
from cmc_notify.cli.options import ConfigOption, ControllerOption, JsonOption, single
from cmc_notify.cli.output import print_json, print_table


def features(
    config: ConfigOption = None,
    controller: ControllerOption = None,
    name: Annotated[str | None, typer.Option("--name", help="Only the feature with this name.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the features that a controller can push."""
    settings, _ = read_settings(config)
    responses = run_async(
        query_controllers(settings, controller, lambda client: client.list_features(name=name))
    )
    found = [(where, feature) for where, listed in responses for feature in listed]
    if as_json:
        keys = ("id", "name", "label", "description", "push_enable")
        print_json(
            [{"controller": where, **{key: getattr(each, key) for key in keys}} for where, each in found]
        )
        return
    words = {True: "yes", False: "no", None: None}
    print_table(
        ("controller", "id", "name", "label", "pushed", "description"),
        [
            (where, each.id, each.name, each.label, words[each.push_enable], each.description)
            for where, each in found
        ],
        empty="No features match.",
    )


app = single(features)
