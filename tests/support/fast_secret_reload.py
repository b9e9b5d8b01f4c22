"""``cmc-notify`` as it is, but that it looks at the files of its secrets five times a second."""

from functools import partial
from typing import Any

from cmc_notify import app
from cmc_notify.cli import main

if __name__ == "__main__":
    watchful: Any = partial(app.run, check_every=0.2)
    app.run = watchful
    main()
