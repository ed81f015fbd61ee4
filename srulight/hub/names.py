"""Names of models on the Hugging Face hub, and how they differ from paths."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from srulight.runtime.errors import InputError

SCHEME = "hf://"
"""Prefix of a name that is never a path."""

_PART = r"(?!\S*(?:--|\.\.))[A-Za-z0-9](?:[\w.-]{0,94}[A-Za-z0-9_])?"
_REPO = re.compile(rf"{_PART}/{_PART}", re.ASCII)
_REVISION = re.compile(r"(?!.*(?:\.\.|//))[A-Za-z0-9_][\w./-]{0,199}", re.ASCII)


@dataclass(frozen=True)
class HubName:
    """A model in a repository of the hub.

    Attributes:
        repo: Name of the repository, ``owner/name``.
        revision: Branch, tag or commit; None for the newest commit of the default branch.
    """

    repo: str
    revision: str | None = None

    def __str__(self) -> str:
        return self.repo if self.revision is None else f"{self.repo}@{self.revision}"


def require_repo(repo: str, option: str) -> str:
    """Returns the name of a repository if the hub accepts it.

    Args:
        repo: Name of the repository.
        option: Option that names it, for the error message.

    Raises:
        InputError: If it does not have the form ``owner/name``.
    """
    if not _REPO.fullmatch(repo):
        raise InputError(f"{option} must have the form owner/name, got {repo!r:.200}")
    return repo


def require_revision(revision: str, option: str) -> str:
    """Returns the name of a revision if it is one.

    Args:
        revision: Branch, tag or commit.
        option: Option that names it, for the error message.

    Raises:
        InputError: If it cannot be the name of a revision.
    """
    if not _REVISION.fullmatch(revision):
        raise InputError(f"{option} must be a branch, a tag or a commit, got {revision!r:.200}")
    return revision


def hub_name(name: str | Path, revision: str | None = None) -> HubName | None:
    """Returns which model of the hub a name stands for, or None if it is a path.

    A name that begins with ``hf://`` always stands for the hub. Any other name is a path if it
    exists, if it ends with ``.ckpt``, or if a folder ``owner`` exists in the working directory.
    Otherwise, ``owner/name`` stands for the hub. ``@REVISION`` may follow both forms.

    Args:
        name: A path, or a name on the hub. A ``Path`` is always a path.
        revision: Branch, tag or commit, instead of one in the name.

    Raises:
        InputError: If the name begins with ``hf://`` and is not the name of a model, there are two
            revisions, or there is a revision for a path.
    """
    text = str(name)
    is_explicit = isinstance(name, str) and text.startswith(SCHEME)
    repo, at, own = text.removeprefix(SCHEME).partition("@")
    is_hub = is_explicit or (
        isinstance(name, str)
        and _REPO.fullmatch(repo) is not None
        and not repo.endswith(".ckpt")
        and not os.path.lexists(text)
        and not os.path.lexists(repo.partition("/")[0])
    )
    if not is_hub:
        if revision is not None:
            raise InputError(
                f"revision must be left out for a path, got {revision!r:.200} for {text:.200}"
            )
        return None
    if at and revision is not None:
        raise InputError(f"there must be one revision, got {own!r:.200} and {revision!r:.200}")
    revision = own if at else revision
    if revision is not None:
        require_revision(revision, f"the revision of {repo:.200}")
    return HubName(require_repo(repo, "the name of a model on the hub"), revision)
