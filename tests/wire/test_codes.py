"""Numbers have the names that official tools print."""

from __future__ import annotations

from pathlib import Path

from rmqwire.codes import LANGUAGES, Version, name_of_request, name_of_response, name_of_version
from rmqwire.errors import MissingField, RequestError

VERSIONS = (Path(__file__).parent.parent / "golden" / "versions-5.5.0.txt").read_text().splitlines()[1:]


def test_names_of_codes() -> None:
    assert name_of_request(310) == "SEND_MESSAGE_V2"
    assert name_of_request(-5) == "-5"
    assert name_of_response(17) == "TOPIC_NOT_EXIST"
    assert name_of_response(12345) == "12345"


def test_names_of_all_versions_are_the_official_ones() -> None:
    assert [name_of_version(ordinal) for ordinal in range(len(VERSIONS))] == VERSIONS
    assert name_of_version(10_000) == "HIGHER_VERSION"
    assert name_of_version(-1) == "-1"


def test_version_constants_are_ordinals_of_the_official_list() -> None:
    for name, ordinal in vars(Version).items():
        if name.startswith("V"):
            assert VERSIONS[ordinal] == name


def test_languages_in_the_order_of_their_bytes() -> None:
    assert (LANGUAGES[0], LANGUAGES[9], LANGUAGES[13]) == ("JAVA", "GO", "NODE_JS")


def test_a_request_error_has_the_code_of_its_class_or_its_own() -> None:
    assert (RequestError("x").code, RequestError("x", 17).code, MissingField("y").remark) == (1, 17, "y")
