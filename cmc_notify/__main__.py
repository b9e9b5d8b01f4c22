"""``python -m cmc_notify`` is ``cmc-notify``."""

from cmc_notify.cli import main

if __name__ == "__main__":
    main()
