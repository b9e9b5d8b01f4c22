"""Every error that the bridge raises on purpose.

::

    CmcNotifyError
    ├── ConfigError            the config, a template or a route is wrong (exit code 2)
    ├── ControllerError        a request to a controller failed
    │   ├── ControllerUnreachable   no usable response: network, time-out, 5xx, broken body
    │   ├── Unauthorized            credentials refused, after one renewal
    │   └── JobNotFound             the controller returns 404 for a job
    ├── MalformedJob           one job of an otherwise good response can't be read
    ├── StoreError             the store can't be used
    │   ├── StoreLocked             another process holds the SQLite store
    │   ├── StoreUnavailable        disk full, read-only, corrupt, connection lost
    │   └── StaleSnapshot           another poller committed since the snapshot was read
    │       └── LeadershipLost          another replica is the leader now
    └── TemplateError          a template failed; carries its name and line

Foreign exceptions are translated where they enter, with ``raise … from``. No message contains a secret.
"""


class CmcNotifyError(Exception):
    """The root: catch this to catch every error that the bridge raises on purpose."""


class ConfigError(CmcNotifyError):
    """The config, a template or a route is wrong.

    ``problems`` lists one line each: place (file, key path or line), what is wrong, and what to write.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class ControllerError(CmcNotifyError):
    """A request to a controller failed, or the controller refused it."""


class ControllerUnreachable(ControllerError, ConnectionError):
    """No usable response: network, time-out, 5xx, a broken or oversized body."""


class Unauthorized(ControllerError, PermissionError):
    """The controller refuses the credentials, even after a new sign-in; an operator must act."""


class JobNotFound(ControllerError, LookupError):
    """The controller returns 404 for a job's id."""


class MalformedJob(CmcNotifyError, ValueError):
    """One job of an otherwise good response can't be read. ``job_id`` is None if even that is missing."""

    def __init__(self, message: str, job_id: int | None = None) -> None:
        super().__init__(message)
        self.job_id = job_id


class StoreError(CmcNotifyError):
    """The store can't be used."""


class StoreMisconfigured(StoreError, ConfigError):
    """The store can never be used as it is configured: a wrong option, an unfit database."""


class StoreLocked(StoreError):
    """Another bridge process holds this SQLite store."""


class StoreUnavailable(StoreError, OSError):
    """The database can't work now: disk full, read-only, corrupt, connection lost."""


class StaleSnapshot(StoreError):
    """Another poller committed since the snapshot was read; nothing of this poll was written."""


class LeadershipLost(StaleSnapshot):
    """Another replica is this controller's leader now; nothing of this poll was written."""


class TemplateError(CmcNotifyError):
    """A template failed. ``template`` is its name (folder/file), ``line`` is 1-based or None."""

    def __init__(self, template: str, line: int | None, message: str) -> None:
        super().__init__(f"{template}{f', line {line}' if line else ''}: {message}")
        self.template = template
        self.line = line
        self.message = message
