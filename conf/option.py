"""How an option is declared: one line of a class body, with Java's key, type, default, unit and description.

    class BrokerTopics(OptionGroup):
        auto_create_topic_enable = boolean(True, "Create a topic at its first message.", acted=True)

The factories return the type of the *value*, so `options.broker.auto_create_topic_enable` is a `bool` to a type
checker and a plain instance attribute at run time: no call is made when an option is read.

This module knows nothing of files; it must stay cheap to import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from enum import Enum

    from .surroundings import Surroundings

    E = TypeVar("E", bound=Enum)

T = TypeVar("T")

INT32_MAX = 2**31 - 1
INT64_MAX = 2**63 - 1


class Computed(Generic[T]):
    """A default that depends on the machine; `shown` is how the documentation writes it."""

    __slots__ = ("compute", "shown")

    def __init__(self, shown: str, compute: Callable[[Surroundings], T]) -> None:
        self.shown = shown
        self.compute = compute


class Kind:
    """A Java type: its name, how text becomes a value (`ValueError` holds what was expected), and back."""

    __slots__ = ("java_type", "parse", "show")

    def __init__(self, java_type: str, parse: Callable[[str], Any], show: Callable[[Any], str] = str) -> None:
        self.java_type = java_type
        self.parse = parse
        self.show = show


class Option:
    """One key of a configuration object.

    Args:
        kind: its type.
        default: the value, or a `Computed`.
        unit: of the value, "" where there is none.
        description: one line.
        key: Java's key, where it is not the camelCase of the attribute.
        printed_key: the name under which the official servers print it, where that differs from the key.
        aliases: older spellings that are read as well.
        important: Java marks the field with `@ImportantField`; shown by `mqbroker -m`.
        acted: our servers do what it says. Where False, setting it gives a notice.
        settable: False for a field without a setter, which the official servers print and never read.
        low, high: bounds; a value outside is an error.
        check: raises `ValueError` with what was expected.
        adjust: what Java silently makes of the value; ours does the same and says so.
    """

    __slots__ = (
        "acted",
        "adjust",
        "aliases",
        "check",
        "default",
        "description",
        "high",
        "important",
        "key",
        "kind",
        "low",
        "name",
        "printed_key",
        "settable",
        "unit",
    )

    def __init__(
        self,
        kind: Kind,
        default: Any,
        unit: str,
        description: str,
        *,
        key: str = "",
        printed_key: str = "",
        aliases: tuple[str, ...] = (),
        important: bool = False,
        acted: bool = False,
        settable: bool = True,
        low: int | None = None,
        high: int | None = None,
        check: Callable[[Any], object] | None = None,
        adjust: Callable[[Any], Any] | None = None,
    ) -> None:
        self.name = ""
        self.kind = kind
        self.default = default
        self.unit = unit
        self.description = description
        self.key = key
        self.printed_key = printed_key
        self.aliases = aliases
        self.important = important
        self.acted = acted
        self.settable = settable
        self.low = low
        self.high = high
        self.check = check
        self.adjust = adjust

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name
        if not self.key:
            first, *rest = name.split("_")
            self.key = first + "".join(map(str.capitalize, rest))
        self.printed_key = self.printed_key or self.key

    def __repr__(self) -> str:
        return f"<Option {self.key}>"

    def parse(self, text: str) -> Any:
        """The value written as `text`, which is trimmed first.

        Raises:
            ValueError: holding what was expected.
        """
        value = self.kind.parse(text.strip(" \t\r\n\f"))
        if self.low is not None and value is not None and value < self.low:
            raise ValueError(self._bounds())
        if self.high is not None and value is not None and value > self.high:
            raise ValueError(self._bounds())
        if self.check is not None and value is not None:
            self.check(value)
        return value

    def show(self, value: Any) -> str:
        """The value as Java's `toString` writes it; None, which Java leaves out, is the empty text."""
        return "" if value is None else self.kind.show(value)

    def compute_default(self, surroundings: Surroundings) -> Any:
        default = self.default
        return default.compute(surroundings) if isinstance(default, Computed) else default

    def _bounds(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        if self.high is None:
            return f"a number of at least {self.low}{unit}"
        return f"a number from {self.low} to {self.high}{unit}"


class OptionGroup:
    """A configuration object: the options of its class and of the classes it is put together from.

    Values are plain attributes. `OPTIONS` maps attribute names to their declarations.
    """

    OPTIONS: ClassVar[dict[str, Option]] = {}
    JAVA_CLASS: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        table: dict[str, Option] = {}
        for base in cls.__bases__:
            table.update(getattr(base, "OPTIONS", {}))
        table.update((name, fact) for name, fact in cls.__dict__.items() if isinstance(fact, Option))
        cls.OPTIONS = table

    def __init__(self, surroundings: Surroundings, values: Mapping[str, Any] | None = None) -> None:
        """Take `values`, by attribute name, and the defaults of everything else."""
        given = values or {}
        unknown = given.keys() - self.OPTIONS.keys()
        if unknown:
            raise TypeError(f"{type(self).__name__} has no {', '.join(sorted(unknown))}")
        self.__dict__.update(
            (name, given[name] if name in given else option.compute_default(surroundings))
            for name, option in self.OPTIONS.items()
        )


def _parse_bool(text: str) -> bool:
    word = text.lower()
    if word not in ("true", "false"):
        raise ValueError("true or false")
    return word == "true"


def _parse_integer(text: str, largest: int) -> int:
    digits = text[1:] if text[:1] in ("+", "-") else text
    # int() also takes blanks, underscores and foreign digits, Java takes none of the first two
    if not (digits.isascii() and digits.isdigit()):
        raise ValueError("a whole number")
    value = int(text) if len(digits) < 40 else largest + 1
    if not -largest - 1 <= value <= largest:
        raise ValueError(f"a whole number from {-largest - 1} to {largest}")
    return value


def _parse_double(text: str) -> float:
    try:
        if "_" in text:
            raise ValueError
        value = float(text)
    except ValueError:
        raise ValueError("a decimal number") from None
    if value - value != 0:  # an infinity or not a number
        raise ValueError("a decimal number")
    return value


def _show_double(value: float) -> str:
    """As Java's `Double.toString`."""
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return repr(value)
    # the shortest digits that give the same number, as both languages choose them
    mantissa, _, exponent = f"{value!r}".partition("e")
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    digits = (whole + fraction).lstrip("0") or "0"
    leading_zeros = len(whole + fraction) - len((whole + fraction).lstrip("0"))
    power = int(exponent or 0) + len(whole) - 1 - leading_zeros
    tail = digits[1:].rstrip("0") or "0"
    return f"{sign}{digits[0]}.{tail}E{power}"


_BOOLEAN = Kind("boolean", _parse_bool, lambda value: "true" if value else "false")
_INT32 = Kind("int", lambda text: _parse_integer(text, INT32_MAX))
_INT64 = Kind("long", lambda text: _parse_integer(text, INT64_MAX))
_DOUBLE = Kind("double", _parse_double, _show_double)
_TEXT = Kind("String", str)
_OPTIONAL_TEXT = Kind("String", lambda text: text or None)


def boolean(default: bool, description: str, **facts: Any) -> bool:
    """A `boolean`: `true` or `false` in any case. Java reads every other word as false; here it is an error."""
    option: Any = Option(_BOOLEAN, default, "", description, **facts)
    return option  # type: ignore[no-any-return]  # the type of the value: see the module's docstring


def int32(default: int | Computed[int], unit: str, description: str, **facts: Any) -> int:
    """An `int`."""
    option: Any = Option(_INT32, default, unit, description, **facts)
    return option  # type: ignore[no-any-return]


def int64(default: int | Computed[int], unit: str, description: str, **facts: Any) -> int:
    """A `long`."""
    option: Any = Option(_INT64, default, unit, description, **facts)
    return option  # type: ignore[no-any-return]


def float64(default: float, unit: str, description: str, **facts: Any) -> float:
    """A `double`."""
    option: Any = Option(_DOUBLE, default, unit, description, **facts)
    return option  # type: ignore[no-any-return]


def text(default: str | Computed[str], description: str, **facts: Any) -> str:
    """A `String` that is never null."""
    option: Any = Option(_TEXT, default, "", description, **facts)
    return option  # type: ignore[no-any-return]


def optional_text(description: str, *, default: Computed[str | None] | None = None, **facts: Any) -> str | None:
    """A `String` that is null by default; an empty value is null too."""
    option: Any = Option(_OPTIONAL_TEXT, default, "", description, **facts)
    return option  # type: ignore[no-any-return]


def choice(default: E, description: str, *, by_place: bool = False, **facts: Any) -> E:
    """A Java enum by its names, exactly; `by_place` also takes the number of the constant."""
    names = type(default).__members__
    members = list(names.values())

    def parse(word: str) -> Any:
        if word in names:
            return names[word]
        if by_place and word.isascii() and word.isdigit() and int(word) < len(members):
            return members[int(word)]
        *most, last = names
        raise ValueError(f"{', '.join(most)} or {last}")

    kind = Kind(type(default).__name__, parse, lambda value: str(value.name))
    option: Any = Option(kind, default, "", description, **facts)
    return option  # type: ignore[no-any-return]
