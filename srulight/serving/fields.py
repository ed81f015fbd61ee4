"""Reads the fields of a JSON object, and describes them for OpenAPI."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NoReturn

from srulight.serving.limits import RequestError

_NAMES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}


@dataclass(frozen=True)
class Field:
    """An optional field of a request.

    Attributes:
        name: Name of the field.
        kind: Type of its values: bool, int, float or str. An integer is a number as well.
        default: Value if the field is missing or null.
        said: Description for OpenAPI.
        least: Smallest allowed number; None for no limit.
        most: Largest allowed number; None for no limit.
    """

    name: str
    kind: type
    default: Any
    said: str
    least: float | None = None
    most: float | None = None

    def read(self, body: dict[str, Any]) -> Any:  # noqa: ANN401
        """Returns the value of the field.

        Args:
            body: The request.

        Raises:
            RequestError: With status 422, if the value has another type or is out of range.
        """
        value = body.get(self.name)
        if value is None:
            return self.default
        kinds = (int, float) if self.kind is float else (self.kind,)
        if not isinstance(value, kinds) or (isinstance(value, bool) and self.kind is not bool):
            wrong_type(self.name, _NAMES[self.kind], value)
        if isinstance(value, int | float) and not self._allows(value):
            most = "" if self.most is None else f" to {self.most}"
            allowed = f"{self.least}{most}" if most else f"at least {self.least}"
            raise RequestError(422, f"{self.name} must be {allowed}, got {shown(value)}")
        return self.kind(value)

    def _allows(self, value: float) -> bool:
        is_enough = self.least is None or value >= self.least
        return is_enough and (self.most is None or value <= self.most)

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON schema of the field."""
        found: dict[str, Any] = {"type": _NAMES[self.kind], "description": self.said}
        if self.default is not None:
            found["default"] = self.default
        if self.least is not None:
            found["minimum"] = self.least
        if self.most is not None:
            found["maximum"] = self.most
        return found


def parse(data: bytes) -> dict[str, Any]:
    """Reads a JSON object.

    Args:
        data: Text in UTF-8.

    Raises:
        RequestError: With status 400, if the text is not JSON; 422, if it is not an object.
    """
    try:
        body = json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise RequestError(400, f"expected JSON, got other text: {reason:.200}") from error
    if not isinstance(body, dict):
        raise RequestError(422, f"expected a JSON object, got {shown(body)}")
    return body


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not part of JSON; write null where a number is missing")


def check_names(body: dict[str, Any], known: Iterable[str]) -> None:
    """Raises RequestError with status 422 if an object has an unknown field.

    Args:
        body: The request.
        known: Names of the known fields.
    """
    known = list(known)
    for name in body:
        if name not in known:
            raise RequestError(
                422, f"expected the fields {', '.join(known)}, got {shown(name)}; remove it"
            )


def read_list(body: dict[str, Any], name: str, most: int) -> list[Any]:
    """Returns the list in a required field.

    Args:
        body: The request.
        name: Name of the field.
        most: Largest number of items.

    Raises:
        RequestError: With status 422, if there is no list, or it is empty; 413, if it is too long.
    """
    items = body.get(name)
    if not isinstance(items, list):
        wrong_type(name, "array", items)
    if not items:
        raise RequestError(422, f"{name} must have at least one item, got none")
    if len(items) > most:
        raise RequestError(
            413, f"{name} must have at most {most} items, got {len(items)}; send several requests"
        )
    return items


def read_text(value: object, name: str, most: int) -> str:
    """Returns a text.

    Args:
        value: The value.
        name: Name of the field, for errors.
        most: Largest number of characters.

    Raises:
        RequestError: With status 422, if the value is not text; 413, if it is too long.
    """
    if not isinstance(value, str):
        wrong_type(name, "string", value)
    if len(value) > most:
        raise RequestError(
            413, f"{name} must have at most {most} characters, got {len(value)}; shorten it"
        )
    return value


def wrong_type(name: str, expected: str, value: object) -> NoReturn:
    """Raises RequestError with status 422 for a value of another type.

    Args:
        name: Name of the field.
        expected: Name of the type in JSON.
        value: The value.
    """
    article = "an" if expected[0] in "aeiou" else "a"
    raise RequestError(422, f"{name} must be {article} {expected}, got {shown(value)}")


def shown(value: object) -> str:
    """Returns what a value is, for an error message: its kind, or its beginning as JSON."""
    if isinstance(value, list | dict):
        kind = "an array" if isinstance(value, list) else "an object"
        return f"{kind} of {len(value)} items"
    if isinstance(value, str) and len(value) > 40:
        value = f"{value[:40]}..."
    return f"{json.dumps(value):.300}"
