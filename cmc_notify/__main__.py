"""Run ``cmc-notify`` as ``python -m cmc_notify``."""

from cmc_notify.cli import main

if __name__ == "__main__":
    main()
