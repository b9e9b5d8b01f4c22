"""One attempt at one message of the Slack bot: update the job's card, continue its thread.

Guarantee: every failure's text is complete in the thread, whatever happens to the card. A job has one card
in the channel for as long as Slack lets it be updated. If Slack refuses for good, another card is posted,
and the thread continues under it.
"""

import asyncio

from cmc_notify.core.delivery import Purpose
from cmc_notify.ports import Message, PartRecorder, Posting
from cmc_notify.sinks.slack.client import SlackClient
from cmc_notify.sinks.slack.composer import Composer
from cmc_notify.sinks.slack.error_codes import CREDENTIALS, NO_THREAD, NOT_UPDATED, SlackCallFailed
from cmc_notify.sinks.slack.part_sender import MESSAGE, PartSender
from cmc_notify.sinks.slack.reply_policy import ThreadReply, thread_reply

THREAD = "thread"
"""The part for the event's reply in the thread."""
_POSTED_BY = "posted_by"
_CHANNEL = "channel"


class Attempt:
    """Sends what is not yet recorded in ``message.parts``, part by part."""

    def __init__(
        self,
        client: SlackClient,
        channel: str,
        known_id: str | None,
        message: Message,
        record: PartRecorder,
    ) -> None:
        """See PartSender."""
        self._channel = channel
        self._message = message
        self._parts = set(message.parts)
        self._posting = message.posting
        self._sender = PartSender(client, channel, known_id, message, record)

    async def run(self, composer: Composer) -> str | None:
        """Return the receipt of the message in the channel, once everything is accepted.

        Returns None if there was nothing to update. Raises SlackCallFailed.
        """
        if self._message.event.job is None:
            return await self._post_message(composer)
        if self._message.purpose is Purpose.FOLLOW and self._posting is None:
            return None
        receipt = await self._update_card(composer)
        reply = thread_reply(self._message)
        if reply is ThreadReply.NONE:
            return receipt
        try:
            await self._reply(composer, receipt, reply)
        except SlackCallFailed as error:
            if error.code not in NO_THREAD:
                raise
            receipt = await self._post_card(composer)
            await self._reply(composer, receipt, reply)
        return receipt

    async def _post_message(self, composer: Composer) -> str:
        """Post an event without a job: a message in the channel, the rest in its thread."""
        whole = await asyncio.to_thread(composer.whole)
        receipt = self._message.parts.get(MESSAGE)
        if receipt is None:
            payload = await asyncio.to_thread(composer.brief) if whole is None else whole
            receipt = await self._sender.post(payload)
        if whole is None:
            await self._complete_list(composer, receipt)
        return receipt

    async def _update_card(self, composer: Composer) -> str:
        if receipt := self._message.parts.get(MESSAGE):
            return receipt
        if self._posting is not None and self._is_in_channel(self._posting):
            try:
                card = await asyncio.to_thread(composer.card)
                await self._sender.update(self._posting.reference, card)
            except SlackCallFailed as error:
                if error.code not in NOT_UPDATED:
                    raise
            else:
                return self._posting.reference
        return await self._post_card(composer)

    async def _post_card(self, composer: Composer) -> str:
        def stands(receipt: str) -> Posting:
            notes = {_POSTED_BY: self._message.key, _CHANNEL: self._channel}
            self._posting = Posting(reference=receipt, notes=notes)
            return self._posting

        return await self._sender.post(await asyncio.to_thread(composer.card), stands)

    def _is_in_channel(self, posting: Posting) -> bool:
        """Return True if it is in the channel that the config names now, by name or by id."""
        return self._channel in (posting.notes.get(_CHANNEL), posting.reference.partition(":")[0])

    async def _reply(self, composer: Composer, receipt: str, reply: ThreadReply) -> None:
        """Reply in the thread with every error text: in the reply, in files, or in more replies."""
        whole = await asyncio.to_thread(composer.whole)
        if THREAD not in self._parts:
            payload = await asyncio.to_thread(composer.brief) if whole is None else whole
            # A card that this same message has posted is new in the channel already.
            fresh = self._posting is not None and self._posting.notes.get(_POSTED_BY) == self._message.key
            broadcast = reply is ThreadReply.BROADCAST and not fresh
            await self._sender.reply(THREAD, payload, receipt, broadcast=broadcast)
            self._parts.add(THREAD)
        if whole is None:
            await self._complete_list(composer, receipt)

    async def _complete_list(self, composer: Composer, receipt: str) -> None:
        in_doubt = self._sender.in_doubt
        if not any(part.startswith("reply:") for part in self._parts):
            try:
                for number, file in enumerate(await asyncio.to_thread(composer.files), start=1):
                    if (part := f"file:{number}") not in self._parts:
                        await self._sender.file(part, file, receipt)
                        self._parts.add(part)
            except SlackCallFailed as error:
                if error.code is None or error.is_temporary or error.code in CREDENTIALS:
                    raise
                # Slack refuses files for good (a scope, a full disk, a policy): the texts go as replies.
                # A doubt is then about the first reply, which an earlier attempt may have left.
                self._sender.in_doubt = in_doubt
            else:
                return
        for number, payload in enumerate(await asyncio.to_thread(composer.continued), start=1):
            if (part := f"reply:{number}") not in self._parts:
                await self._sender.reply(part, payload, receipt)
                self._parts.add(part)
