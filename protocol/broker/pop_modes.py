"""Whether a group pulls or pops a topic: `config/messageRequestMode.json`.

Source: `MessageRequestModeManager` (5.5.0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rmqwire.bodies import MessageRequestModeSerializeWrapper, SetMessageRequestModeRequestBody

from .names import RETRY_PREFIX
from .state_text import load_state
from .state_writer import RunInThread, StateWriter

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from rmqd.conf import BrokerOptions
    from rmqd.store.statefile import StateFile

PULL, POP = "PULL", "POP"


class RequestModes:
    """The modes.

    Args:
        file: `config/messageRequestMode.json`.
        run_in_thread: Runs blocking writes.

    Attributes:
        default_mode: `defaultMessageRequestMode`.
        default_share: `defaultPopShareQueueNum`.

    Raises:
        StoreDamaged: Neither the file nor its backup can be read.
    """

    def __init__(self, file: StateFile, run_in_thread: RunInThread) -> None:
        self.default_mode = PULL
        self.default_share = -1
        self.table = MessageRequestModeSerializeWrapper()
        self._writer = StateWriter(file, lambda: self.table.pretty(), run_in_thread)
        load_state(file, self._load)

    def follow(self, options: BrokerOptions) -> None:
        """Take the options as they are now."""
        self.default_mode = options.broker.default_message_request_mode.value
        self.default_share = options.broker.default_pop_share_queue_num

    def _load(self, tree: dict[str, Any]) -> None:
        self.table = MessageRequestModeSerializeWrapper.of_tree(tree)

    def copy_from(self, tree: dict[str, Any]) -> None:
        """Take a master's table, as slaves are sent it (402).

        Raises:
            MalformedBody: It is none; nothing has changed.
        """
        table = MessageRequestModeSerializeWrapper.of_tree(tree)
        if table != self.table:
            self.table = table
            self._writer.changed()

    def get(self, topic: str, group: str) -> SetMessageRequestModeRequestBody:
        """Give the mode of a group; the default one when none was set."""
        known = self.table.message_request_mode_map.get(topic, {}).get(group)
        if known is not None:
            return known
        mode = PULL if topic.startswith(RETRY_PREFIX) else self.default_mode
        share = self.default_share if mode == POP else 0
        return SetMessageRequestModeRequestBody(topic=topic, consumer_group=group, mode=mode, pop_share_queue_num=share)

    def set(self, mode: SetMessageRequestModeRequestBody) -> Deferred[None]:
        """Set a mode; wait until it is on disk.

        Raises:
            StoreError: By the Deferred: the file could not be written.
        """
        by_group = self.table.message_request_mode_map.setdefault(mode.topic or "", {})
        by_group[mode.consumer_group or ""] = mode
        self._writer.changed()
        return self._writer.saved()

    def saved(self) -> Deferred[None]:
        """Wait until all changes so far are on disk.

        Raises:
            StoreError: By the Deferred: the file could not be written.
        """
        return self._writer.saved()
