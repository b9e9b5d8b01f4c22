"""The command line. Exit codes: 0 success, 1 the operation failed, 2 the command or the config is wrong."""

from cmc_notify.cli.main import main

__all__ = ["main"]
