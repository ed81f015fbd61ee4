"""The page on which a browser tries the model; it loads nothing from elsewhere."""

import json
from html import escape
from importlib.resources import files

from srulight.serving.services.base import Service


def page(service: Service) -> str:
    """Returns the HTML of the page.

    Args:
        service: Service of the task.
    """
    facts = service.facts
    described = {
        "kind": service.kind,
        "files": service.files,
        "example": service.input_schema.get("example", ""),
        "generates": bool(service.generator_fields),
    }
    # A name of a class or a label may contain "</script>".
    settings = json.dumps(described).replace("<", "\\u003c")
    said = f"{facts['task']}, {facts['parameters']:,} parameters"
    template = files("srulight.serving").joinpath("page.html").read_text(encoding="utf-8")
    return template.replace("{{title}}", escape(said)).replace("{{settings}}", settings)
