"""``run``: the bridge itself."""

import sys

from cmc_notify import app as bridge
from cmc_notify.cli.common import read_settings, run_async
from cmc_notify.cli.options import ConfigOption, single
from cmc_notify.settings import Settings
from cmc_notify.telemetry import configure_logging


def run(config: ConfigOption = None) -> None:
    """Run the bridge until SIGTERM or SIGINT. SIGHUP reloads the config."""
    settings, plugins = read_settings(config)
    configure_logging(settings.log.format, settings.log.level, sys.stderr)

    def reread() -> Settings:
        return read_settings(config)[0]

    run_async(bridge.run(settings, plugins, reread=reread))


app = single(run)
