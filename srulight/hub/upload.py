"""Uploads a folder to a repository of the Hugging Face hub, in one commit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srulight.export.settings import MANIFEST
from srulight.hub.library import LOGIN, client, endpoint, library, reason, refused
from srulight.runtime.errors import InputError, listed


@dataclass(frozen=True)
class Upload:
    """What is uploaded, and where to.

    Attributes:
        folder: Folder with the files.
        repo: Name of the repository, ``owner/name``.
        private: Whether a new repository is private.
        branch: Branch of the repository; None for the default branch.
        message: Message of the commit.
    """

    folder: Path
    repo: str
    private: bool
    branch: str | None
    message: str

    @property
    def files(self) -> Sequence[Path]:
        """The files to upload, in order."""
        return sorted(self.folder.iterdir())

    def text(self) -> str:
        """Describes the upload: the repository, who can see it, and every file with its size."""
        sizes = {path.name: path.stat().st_size for path in self.files}
        who = "private: visible to the owner only" if self.private else "PUBLIC: visible to anyone"
        width = max(map(len, sizes))
        return "\n".join(
            [
                f"repository: {endpoint()}/{self.repo} ({who})",
                f"branch:     {self.branch or 'main'}",
                f"message:    {self.message}",
                f"files:      {len(sizes)}, {sum(sizes.values()):,} bytes",
                *(f"  {name:<{width}}  {size:>14,} bytes" for name, size in sizes.items()),
            ]
        )

    def run(self, say: Callable[[str], None]) -> str:
        """Uploads the files in one commit: other people see all of them or none.

        Args:
            say: Prints a line.

        Returns:
            Address of the commit.

        Raises:
            InputError: If there is no token, the hub refuses or fails, the repository contains
                something else, or it is public and the model is not to be.
        """
        hub = library()
        if hub.get_token() is None:
            raise InputError(f"{self.repo}: an upload needs a token of {endpoint()}; {LOGIN}")
        api = client()
        try:
            api.create_repo(self.repo, private=self.private, exist_ok=True)
            self._check(api.model_info(self.repo), say)
            if self.branch is not None:
                api.create_branch(self.repo, branch=self.branch, exist_ok=True)
            commit = api.create_commit(
                self.repo, commit_message=self.message, revision=self.branch,
                operations=[
                    hub.CommitOperationAdd(path_in_repo=path.name, path_or_fileobj=str(path))
                    for path in self.files
                ],
            )  # fmt: skip
        except InputError:
            raise
        except Exception as error:  # huggingface_hub passes on all exceptions of its HTTP client
            if getattr(error, "response", None) is not None:
                raise refused(error, self.repo, self.branch) from error
            raise InputError(
                f"{self.repo}: the upload to {endpoint()} failed: {reason(error)}; the repository "
                "has its previous content, so run the command again"
            ) from error
        return str(commit.commit_url)

    def _check(self, info: Any, say: Callable[[str], None]) -> None:  # noqa: ANN401
        """Refuses a repository that is public against the user's will, or has other content."""
        if self.private and info.private is False:
            raise InputError(
                f"{self.repo}: expected a private repository, got a public one; pass --public to "
                "publish the model there, or another repository"
            )
        if not self.private and info.private:
            say(f"{self.repo} exists already and stays private")
        there = {one.rfilename for one in info.siblings or []} - {".gitattributes"}
        if there and MANIFEST not in there:
            raise InputError(
                f"{self.repo}: expected an empty repository or one with a model of srulight, got "
                f"{listed(sorted(there), 3)}; pass another repository"
            )
