"""Slack's error codes, by class, as outcomes.

Unknown codes are retried until the delivery's deadline: Slack adds codes, and a message must not be lost at
its first attempt for an unknown reason. Source of the classes: Slack's method pages (``chat.postMessage``,
``files.*``) and the page on incoming webhooks.
"""

import re
from collections.abc import Iterable

from cmc_notify.core.outcome import Blocked, Rejected, RetryLater, SendOutcome, Unclear
from cmc_notify.errors import CmcNotifyError
from cmc_notify.net import safe

RETRIED = frozenset(
    {"ratelimited", "rate_limited", "service_unavailable", "request_timeout", "team_added_to_org"}
)
AMBIGUOUS = frozenset({"fatal_error", "internal_error"})
CREDENTIALS = frozenset(
    {
        "invalid_auth",
        "not_authed",
        "account_inactive",
        "token_revoked",
        "token_expired",
        "org_login_required",
        "ekm_access_denied",
        "not_allowed_token_type",
    }
)
NEEDS_OPERATOR = CREDENTIALS | {
    "channel_not_found",
    "not_in_channel",
    "is_archived",
    "missing_scope",
    "no_permission",
    "access_denied",
    "team_access_not_granted",
    "posting_to_general_channel_denied",
    "posting_to_channel_denied",
    "storage_limit_reached",
    "method_deprecated",
    "deprecated_endpoint",
    # codes of incoming webhooks
    "no_service",
    "no_service_id",
    "no_team",
    "team_disabled",
    "no_active_hooks",
    "channel_is_archived",
    "action_prohibited",
    "invalid_token",
    "user_not_found",
}
BAD_MESSAGE = frozenset(
    {
        "invalid_blocks",
        "invalid_blocks_format",
        "msg_blocks_too_long",
        "msg_too_long",
        "no_text",
        "metadata_too_large",
        "invalid_metadata_format",
        "invalid_metadata_schema",
        "metadata_must_be_sent_from_app",
        "cannot_reply_to_message",
        "invalid_payload",
        "invalid_json",
        "json_not_object",
        "invalid_charset",
        "invalid_form_data",
        "invalid_post_type",
        "missing_post_type",
        "too_many_attachments",
    }
)
NOT_UPDATED = frozenset({"message_not_found", "cant_update_message", "edit_window_closed", "is_inactive"})
"""The message can't be updated any more, by anybody; another one can still be posted. Documented with
``chat.update``.
"""
NO_THREAD = frozenset(
    {"thread_not_found", "invalid_thread_ts", "cannot_reply_to_message", "message_not_found"}
)
"""The message under which to reply is gone."""
_REMEDIES = {
    "channel_not_found": "correct the channel in the config, or invite the bot to it",
    "not_in_channel": "invite the bot to the channel",
    "is_archived": "unarchive the channel or choose another",
    "channel_is_archived": "unarchive the channel or choose another",
    "missing_scope": "add the scope to the Slack app and install it again",
    "no_service": "the webhook was removed; make a new one and put its address in the config",
    "invalid_token": "the webhook's address is wrong; copy it again",
}
_CODE = re.compile(r"[A-Za-z0-9_.:-]{1,80}")
_SCOPES = re.compile(r"[A-Za-z0-9_.:,\s-]{1,200}")


class SlackCallFailed(CmcNotifyError):
    """A failed call. ``code`` is Slack's own error code, None for a network error."""

    def __init__(self, outcome: SendOutcome, code: str | None = None) -> None:
        super().__init__(getattr(outcome, "reason", ""))
        self.outcome = outcome
        self.code = code

    @property
    def is_temporary(self) -> bool:
        """Return True if the same call may succeed later without anybody's action."""
        return isinstance(self.outcome, RetryLater | Unclear) and (
            self.code is None or self.code in RETRIED | AMBIGUOUS
        )


def from_code(
    code: str,
    call: str,
    *,
    needed: str | None = None,
    wait: float | None = None,
    secrets: Iterable[str] = (),
) -> SlackCallFailed:
    """Return the failure for ``code`` of ``call``; ``wait`` is Retry-After in seconds, ``needed`` a scope."""
    word = code if _CODE.fullmatch(code) else "an unreadable error"
    said = f"{call}: {word}"
    if needed and _SCOPES.fullmatch(needed):
        said += f" (needs {needed})"
    if word in _REMEDIES:
        said += f": {_REMEDIES[word]}"
    said = safe(said, secrets)
    if word in RETRIED:
        return SlackCallFailed(RetryLater(said, wait), word)
    if word in AMBIGUOUS:
        return SlackCallFailed(Unclear(said), word)
    if word in NEEDS_OPERATOR or word.startswith("restricted_action"):
        return SlackCallFailed(Blocked(said), word)
    if word in BAD_MESSAGE or word.startswith("invalid_arg"):
        return SlackCallFailed(Rejected(said), word)
    return SlackCallFailed(RetryLater(f"{said}, which is not a known error", wait), word)
