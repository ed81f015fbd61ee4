"""The library huggingface_hub, and sentences for its errors."""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

from srulight import __version__
from srulight.runtime.errors import InputError

LOGIN = "run hf auth login, or set HF_TOKEN"
"""How to get a token: the program ``hf`` comes with huggingface_hub."""


def library() -> ModuleType:
    """Imports huggingface_hub.

    Raises:
        InputError: If it is not installed.
    """
    try:
        import huggingface_hub
    except ImportError as error:
        raise InputError(
            "models on the Hugging Face hub need huggingface_hub, which is not installed; run pip "
            'install "srulight[hub]"'
        ) from error
    return huggingface_hub


def client() -> Any:  # noqa: ANN401
    """Returns a client of the hub; it takes the address and the token from the environment."""
    return library().HfApi(
        endpoint=endpoint(), library_name="srulight", library_version=__version__
    )


def show_progress_on_terminals() -> None:
    """Keeps the library's progress bars out of files and pipes."""
    library()
    utils: Any = import_module("huggingface_hub.utils")
    if not sys.stderr.isatty():
        utils.disable_progress_bars()


def endpoint() -> str:
    """Returns the address of the hub."""
    library()
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def is_unreachable(error: Exception) -> bool:
    """Returns whether an error says that the hub cannot answer, rather than that it refuses.

    Args:
        error: What a function of huggingface_hub raised.
    """
    response = getattr(error, "response", None)
    if response is not None:
        return bool(response.status_code >= 500)
    # The errors of the HTTP client all derive from one class that differs between versions.
    network = any(one.__name__ == "TransportError" for one in type(error).__mro__)
    return network or isinstance(error, ConnectionError)


def reason(error: BaseException) -> str:
    """Describes an error of huggingface_hub in a few words, without addresses or tokens.

    Args:
        error: What a function of huggingface_hub raised.
    """
    response = getattr(error, "response", None)
    if response is not None:
        said = getattr(error, "server_message", None) or response.reason_phrase
        return f"status {response.status_code}, {' '.join(str(said).split()):.200}".rstrip(", .")
    if type(error).__name__ == "OfflineModeIsEnabled":
        return "HF_HUB_OFFLINE is set"
    said = " ".join(str(error).split())[:200].rstrip(" .")
    if isinstance(error, RuntimeError) and error.__cause__ is not None:
        said = f"{said}: {reason(error.__cause__)}" if said else reason(error.__cause__)
    return said or type(error).__name__


def refused(error: Exception, repo: str, revision: str | None) -> InputError:
    """Translates an error of huggingface_hub into a sentence for the user.

    Args:
        error: What a function of huggingface_hub raised.
        repo: Name of the repository.
        revision: Branch, tag or commit; None for the default branch.
    """
    names = {kind.__name__ for kind in type(error).__mro__}
    status = getattr(getattr(error, "response", None), "status_code", None)
    if "GatedRepoError" in names:
        return InputError(
            f"{repo}: the owner must grant access to this repository; ask for it at "
            f"{endpoint()}/{repo}, then {LOGIN}"
        )
    if "RevisionNotFoundError" in names:
        return InputError(
            f"{repo}: expected a branch, a tag or a commit, got {revision!r}, which the repository "
            "does not have; pass another revision"
        )
    if "RepositoryNotFoundError" in names or status in (401, 403, 404):
        return InputError(
            f"{repo}: {endpoint()} has no such repository, or your token does not give access to "
            f"it (status {status}); check the name, and {LOGIN}"
        )
    return InputError(f"{repo}: {endpoint()} failed: {reason(error)}; run the command again")
