"""Builds targets from the metadata of a data module."""

from typing import Any

from srulight.runtime.errors import InputError
from srulight.runtime.structure import require
from srulight.targets.base import LossSettings, Target
from srulight.targets.labels import Labels
from srulight.targets.numbers import Numbers
from srulight.targets.one_class import OneClass

KINDS: dict[str, type[Target]] = {cls.kind: cls for cls in (OneClass, Labels, Numbers)}
"""The classes of targets by their kind."""

KNOWS: dict[str, Any] = {"kind": str, "names": [str], "columns": [str]}
"""Structure that the metadata of each target have, as ``structure.require`` takes it.

``kind`` is a ``Kind``, ``names`` are those of the classes, labels or numbers, and ``columns`` are
the columns of a table that the targets were read from, if any. Besides these, the metadata contain
for classes ``counts`` (training examples of each), for labels ``counts`` (training examples to
which each applies) and ``totals`` (those for which this is known), and for numbers ``mean`` and
``std``.
"""


def build_target(metadata: dict[str, Any], settings: LossSettings) -> Target:
    """Builds the target that metadata describe.

    Args:
        metadata: What the data module knows about the target, as described at ``KNOWS``; if it
            comes from a checkpoint, it is not trusted.
        settings: Settings of the loss.

    Raises:
        InputError: If the metadata do not describe a target.
    """
    where = "target in the metadata"
    require(metadata, KNOWS, where)
    names, kind = metadata["names"], metadata["kind"]
    if kind == "class":
        return OneClass(names, settings, *_lists(metadata, ["counts"], int, where))
    if kind == "labels":
        return Labels(names, settings, *_lists(metadata, ["counts", "totals"], int, where))
    if kind == "numbers":
        return Numbers(names, settings, *_lists(metadata, ["mean", "std"], float, where))
    raise InputError(f"{where}.kind must be {', '.join(KINDS)}, got {kind!r}")


def _lists(metadata: dict[str, Any], wanted: list[str], kind: type, where: str) -> list[list[Any]]:
    """Returns the named lists, each of which must have one item per name of the target."""
    for name in wanted:
        require(metadata, {name: [kind]}, where)
        if len(metadata[name]) != len(metadata["names"]):
            raise InputError(
                f"{where}.{name} must have one item per name ({len(metadata['names'])}), got "
                f"{len(metadata[name])}"
            )
    return [metadata[name] for name in wanted]
