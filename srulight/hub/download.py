"""Downloads models from the Hugging Face hub, or finds them in its cache."""

from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_info

from srulight.export.settings import LIMITS, MANIFEST, check_size
from srulight.hub.library import client, endpoint, is_unreachable, reason, refused
from srulight.hub.names import HubName, hub_name
from srulight.runtime.errors import InputError, listed

NAMES = tuple(LIMITS)
"""Names of the only files that are downloaded; a repository may contain others."""


def local(name: str | Path, revision: str | None = None) -> Path:
    """Returns the path of a model, and downloads it first if it is on the hub.

    Args:
        name: A path, or a name on the hub, as ``hub_name`` tells them apart.
        revision: Branch, tag or commit of a name on the hub.

    Raises:
        InputError: If the model cannot be downloaded and is not in the cache.
    """
    hub = hub_name(name, revision)
    return Path(name) if hub is None else download(hub)


def download(name: HubName) -> Path:
    """Returns a folder in the hub's cache with the files of a model.

    Nothing in the files is read here: ``srulight.export.settings.read_export`` checks them.

    Args:
        name: The model.

    Raises:
        InputError: If there is no such model, a file is missing or too large, or the hub cannot be
            reached and the cache does not have the model.
    """
    try:
        info = client().model_info(
            name.repo, revision=name.revision, files_metadata=True, timeout=30
        )
    except Exception as error:  # huggingface_hub passes on all exceptions of its HTTP client
        if is_unreachable(error):
            return _cached(name, error)
        raise refused(error, name.repo, name.revision) from error
    _check(name, info)
    try:
        folder = _snapshot(name)
    except Exception as error:
        raise InputError(
            f"{name}: the download from {endpoint()} failed: {reason(error)}; run the command "
            "again, and it resumes"
        ) from error
    if folder.name != info.sha:  # only the files of this commit were checked
        raise InputError(f"{name} changed during the download; run the command again")
    rank_zero_info(f"loading {name} at revision {info.sha:.12}")
    return folder


def _snapshot(name: HubName, **options: Any) -> Path:  # noqa: ANN401
    return Path(
        client().snapshot_download(
            name.repo, revision=name.revision, allow_patterns=list(NAMES), **options
        )
    )


def _check(name: HubName, info: Any) -> None:  # noqa: ANN401
    """Checks the files of a repository before any of them is downloaded."""
    sizes = {one.rfilename: one.size for one in info.siblings or []}
    missing = [one for one in NAMES if one not in sizes]
    if missing:
        others = listed(sorted(sizes), 3) or "no files"
        raise InputError(
            f"{name}: expected a model that the command push uploaded, with {missing[0]}, got "
            f"{others}; pass the name of another repository"
        )
    for one in NAMES:
        if sizes[one] is not None:
            check_size(f"{name}: {one}", one, sizes[one])
    ignored = sorted(sizes.keys() - {*NAMES, "README.md", ".gitattributes"})
    if ignored:
        rank_zero_info(f"{name}: ignoring files that are not part of the model: {listed(ignored)}")


def _cached(name: HubName, error: Exception) -> Path:
    """Returns the folder of a model in the cache, if it was downloaded before."""
    try:
        folder = _snapshot(name, local_files_only=True)
    except Exception as missing:
        folder = None
        cause: Exception = missing
    if folder is None or not (folder / MANIFEST).is_file():
        raise InputError(
            f"{name} is neither a path nor in the cache of the hub, and {endpoint()} cannot be "
            f"reached ({reason(error)}); check the path, or connect and run the command again"
        ) from (error if folder is not None else cause)
    rank_zero_info(
        f"loading {name} at revision {folder.name:.12} from the cache, because {endpoint()} cannot "
        f"be reached ({reason(error)})"
    )
    return folder
