"""The page on which a browser tries the model; it loads nothing from elsewhere."""

import json
import re
from html import escape
from importlib.resources import files
from typing import Any

from srulight.serving.fields import Field
from srulight.serving.services.base import Service

SCRIPT, STYLE = "text/javascript", "text/css"
FILES = {
    "style.css": STYLE, "main.js": SCRIPT, "form.js": SCRIPT, "answers.js": SCRIPT,
    "charts.js": SCRIPT, "microphone.js": SCRIPT, "resampler.js": SCRIPT, "capture.js": SCRIPT,
}  # fmt: skip
"""Media types of the files that the page loads, by their names."""

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
"""Headers of the page and of its files: the browser loads and asks nothing but this server."""


def page(service: Service, needs_token: bool) -> str:
    """Returns the HTML of the page.

    Args:
        service: Service of the task.
        needs_token: Whether requests need a token.
    """
    facts = service.facts
    described = {
        "kind": service.kind,
        "files": service.files,
        "example": service.input_schema.get("example", ""),
        "options": _schemas(service.options),
        "generator": _schemas(service.generator_fields),
        "streams": bool(facts.get("streams")),
        "sample_rate": facts.get("sample_rate"),
        "max_seconds": service.limits.max_seconds,
        "max_stream_seconds": service.limits.max_stream_seconds,
        "needs_token": needs_token,
    }
    # A name of a class or a label may contain "</script>".
    settings = json.dumps(described).replace("<", "\\u003c")
    title = re.sub(r"(?<=[a-z])([A-Z])", lambda found: f" {found[1].lower()}", facts["task"])
    parts = [facts[name] for name in ("encoder", "translator", "reader") if name in facts]
    said = ", ".join([*parts, f"{facts['parameters']:,} parameters"])
    values = {"title": escape(title), "facts": escape(said), "settings": settings}
    # One pass, so that a value that contains the name of another one stays as it is.
    return re.sub(r"\{\{(\w+)\}\}", lambda found: values[found[1]], read("index.html"))


def read(name: str) -> str:
    """Returns the text of a file of the page.

    Args:
        name: Name of the file, one of ``FILES`` or "index.html".
    """
    return files("srulight.serving.page").joinpath(name).read_text(encoding="utf-8")


def _schemas(fields: tuple[Field, ...]) -> dict[str, Any]:
    return {field.name: field.schema for field in fields}
