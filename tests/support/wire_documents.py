"""Documents of jobs, as JSON."""

import json
from typing import Any

from cmc_notify.controller.wire import decode_job
from cmc_notify.core.model import Job, Row

TIMES = ("timestamp", "creation_time", "push_time", "completion_time")
LISTS = ("feature_ids", "site_ids", "site_type_ids", "appliance_serial_numbers", "detailed_status")
OPTIONAL = (*TIMES, *LISTS, "operation", "error_text", "backup")


def job(**fields: Any) -> Job:
    """A job with the given wire fields, and an id unless one is given."""
    return decode_job(json.dumps({"id": 1, **fields}).encode())


def row(**fields: Any) -> Row:
    """The one detail row with the given wire fields."""
    return job(detailed_status=[fields]).rows[0]
