"""Where a measurement comes from: the software, its commit and the date."""

import datetime
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from srulight import __version__


def versions(*packages: str) -> dict[str, str]:
    """Returns the versions of srulight, Python and torch, and of other packages.

    Args:
        *packages: Names of more distributions; those that are not installed are left out.
    """
    found = {"srulight": __version__, "python": platform.python_version()}
    for name in ("torch", *packages):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def commit() -> str | None:
    """Returns the commit of the checkout that srulight runs from, or None if it is installed.

    The commit is followed by ``+`` if files of the checkout differ from it.
    """
    folder = Path(__file__).parents[1]

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def today() -> str:
    """Returns the date in UTC, as YYYY-MM-DD."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()
