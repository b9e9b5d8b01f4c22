"""``run``: runs the bridge."""

import sys

from cmc_notify import app as bridge
from cmc_notify.cli.common import read_whole_config, run_async
from cmc_notify.cli.options import ConfigOption, single
from cmc_notify.settings import Loaded
from cmc_notify.telemetry import configure_logging


def run(config: ConfigOption = None) -> None:
    """Run the bridge until SIGTERM or SIGINT. SIGHUP reloads the config."""
    loaded, plugins = read_whole_config(config)
    log = loaded.settings.log
    configure_logging(log.format, log.level, sys.stderr)

    def reread() -> Loaded:
        return read_whole_config(config)[0]

    run_async(bridge.run(loaded, plugins, reread=reread))


app = single(run)
