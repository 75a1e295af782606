"""The JSON header, and how ext fields become the attributes of a declared header.

Standard JSON is read by msgspec in one step; what only fastjson reads (single quotes, unquoted names) takes the slow
path. Source: `RemotingSerializable`, `RemotingCommand.decodeCommandCustomHeader` (4.7.0, 5.5.0).
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar

import msgspec

from .codes import LANGUAGE_BYTES, LANGUAGES
from .declare import Header
from .dialect import dumps, loads
from .dialect_reader import NOT_STANDARD
from .errors import MalformedBody, MalformedHeader, MissingField
from .fields import i32

H = TypeVar("H", bound=Header)
_NO_RAW = msgspec.Raw(b"")


class JsonHeader(msgspec.Struct, rename="camel"):
    """The members of a JSON header; `ext_fields` is not read yet."""

    code: i32 = 0
    flag: i32 = 0
    opaque: i32 = 0
    version: i32 = 0
    language: str | int | None = "JAVA"
    remark: str | None = None
    ext_fields: msgspec.Raw = _NO_RAW


decode_standard = msgspec.json.Decoder(JsonHeader, strict=False).decode
"""Read a JSON header that is standard JSON; raises one of `NOT_STANDARD` for any other."""

_decode_ext = msgspec.json.Decoder(dict[str, Any] | None).decode


def decode_lenient(header: bytes) -> JsonHeader:
    """Read a JSON header as fastjson does.

    Raises:
        MalformedHeader: Not an object that fastjson reads as a `RemotingCommand`.
    """
    try:
        tree = loads(header)
        if not isinstance(tree, dict):
            raise MalformedHeader(f"JSON header of {len(header)} bytes is no object")
        members = {name: member for name, member in tree.items() if member is not None}
        ext_fields = members.pop("extFields", None)
        parsed = msgspec.convert(members, JsonHeader, strict=False)
        if ext_fields is not None:
            parsed.ext_fields = msgspec.Raw(dumps(ext_fields))
    except (MalformedBody, msgspec.MsgspecError, RecursionError) as cause:
        raise MalformedHeader(f"JSON header of {len(header)} bytes: {cause}") from cause
    return parsed


def language_of(member: str | int | None) -> str | None:
    """Give a peer's language name, of a name or of an ordinal; None when unknown."""
    if isinstance(member, int):
        return LANGUAGES[member] if 0 <= member < len(LANGUAGES) else None
    return member if member in LANGUAGE_BYTES else None


def read_ext(raw: bytes | msgspec.Raw) -> dict[str, str]:
    """Read all ext fields as text.

    Raises:
        MalformedHeader: `extFields` is not an object.
    """
    try:
        fields = _decode_ext(raw)
    except NOT_STANDARD:
        try:
            fields = loads(bytes(raw))
        except MalformedBody as cause:
            raise MalformedHeader(f"extFields: {cause}") from cause
        if not isinstance(fields, dict):
            raise MalformedHeader("extFields is no object") from None
    try:
        return {key: to_text(value) for key, value in (fields or {}).items() if value is not None}
    except RecursionError as cause:
        raise MalformedHeader("extFields: a value of too many levels") from cause


def to_text(value: object) -> str:
    """Write one field as Java's `toString` does: `true`/`false`, decimal numbers, text as it is."""
    if isinstance(value, str):
        return value
    return dumps(value).decode()


@cache
def typed_decoder(declared: type[Header]) -> msgspec.json.Decoder[Any]:
    """Give the decoder of a header class from the JSON text of `extFields`."""
    return msgspec.json.Decoder(declared, strict=False)


@cache
def fields_of(declared: type[Header]) -> tuple[msgspec.structs.FieldInfo, ...]:
    """Give the fields of a header class with their wire names."""
    return msgspec.structs.fields(declared)


def from_ext(declared: type[H], ext: dict[str, str]) -> H:
    """Read ext fields as a declared header class.

    Raises:
        MissingField: A required field is absent or unreadable.
    """
    try:
        return msgspec.convert(ext, declared, strict=False)
    except msgspec.ValidationError:
        return _field_by_field(declared, ext)


def _field_by_field(declared: type[H], ext: dict[str, str]) -> H:
    values: dict[str, Any] = {}
    for field in fields_of(declared):
        text = ext.get(field.encode_name)
        if text is not None:
            try:
                values[field.name] = _convert(text, field.type)
                continue
            except msgspec.ValidationError:
                pass  # as Java: a value that does not parse counts as absent
        if field.required:
            raise MissingField(f"the header field {field.encode_name} is missing or not valid")
    return declared(**values)


def _convert(text: str, kind: Any) -> Any:
    if kind is bool or kind == (bool | None):
        return text.lower() == "true"  # as Java: whatever is not "true" is false
    return msgspec.convert(text, kind, strict=False)


def ext_of(header: Header) -> dict[str, str]:
    """Write a header's fields as ext fields: absent ones left out, values as Java's `toString`."""
    ext: dict[str, str] = {}
    for field in fields_of(type(header)):
        value = getattr(header, field.name)
        if value is not None:
            ext[field.encode_name] = value if value.__class__ is str else to_text(value)
    return ext
