"""What `mqbroker -p` and `-m` (and `mqnamesrv -p`) print: one `key=value` a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .load import BrokerOptions, NamesrvOptions


def show_options(options: BrokerOptions | NamesrvOptions, *, important_only: bool = False) -> str:
    """All options, object by object, with the values that are used; null values are empty.

    Args:
        options: of a broker or a name server.
        important_only: only those that Java marks as important.

    Source: `org.apache.rocketmq.common.MixAll.printObjectProperties`, 5.5.0; that leaves out the identity of the
    broker and the store, which 4.7.0 printed and people look for.
    """
    return "".join(
        f"{option.printed_key}={option.show(getattr(group, name))}\n"
        for group in options.groups
        for name, option in group.OPTIONS.items()
        if option.important or not important_only
    )
