"""How a user calls this program from where they stand."""

import shlex
import shutil
import sys
from pathlib import Path


def program() -> str:
    """Gives the command that the program was called by, to be copied into a terminal.

    ``python train.py`` where python is the one of this environment, and else the path of that one:
    an environment that is not activated has another.
    """
    script = Path(sys.argv[0])
    if script.stem == "srulight":
        return _callable(script, ["srulight"])
    python = _callable(Path(sys.executable), ["python", "python3"])
    if script.suffix == ".py" and script.stem != "__main__":
        return f"{python} {shlex.quote(sys.argv[0])}"
    return f"{python} -m srulight"


def _callable(path: Path, names: list[str]) -> str:
    """Gives the first of the names that a shell would find this very file by, or the path."""
    for name in names:
        # Never resolved: the python of an environment is a link to that of the system.
        if Path(shutil.which(name) or "") == path.absolute():
            return name
    near = path.absolute()
    # A shell looks for a name without a stroke on its path only.
    if near.parent != Path.cwd() and near.is_relative_to(Path.cwd()):
        near = near.relative_to(Path.cwd())
    return shlex.quote(str(near))
