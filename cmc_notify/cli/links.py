"""``links``: ends the links in messages, next to a running bridge."""

import secrets

from cmc_notify.app.link_signing import SECRET
from cmc_notify.cli.common import opened_store, read_settings, run_async
from cmc_notify.cli.options import ConfigOption, JsonOption, actions
from cmc_notify.cli.output import print_json, print_lines
from cmc_notify.settings import Settings

app = actions("Say how links in messages work, or end all of them.")


@app.command("list")
def show_links(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show for each sink how the links in its messages open their pages."""
    settings, _ = read_settings(config)
    kinds = {name: sink.links for name, sink in settings.sinks.items()}
    if as_json:
        print_json({"external_url": settings.http.external_url, "links": kinds})
        return
    if settings.http.external_url is None:
        print_lines("Messages have no links: http.external_url is not set.")
        return
    print_lines(*(f"{name}: {kind}" for name, kind in kinds.items()))


@app.command("revoke")
def revoke_links(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """End all links in messages that were sent; messages sent from now on have new ones."""
    settings, _ = read_settings(config)
    run_async(_revoke(settings))
    if as_json:
        print_json({"revoked": True})
    else:
        print_lines("All links in earlier messages are ended.")


async def _revoke(settings: Settings) -> None:
    async with opened_store(settings) as store:
        await store.ledger.replace_secret(SECRET, secrets.token_bytes(32))
