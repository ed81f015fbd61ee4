"""The command by which the user called this program."""

import shlex
import shutil
import sys
from pathlib import Path


def program() -> str:
    """Returns the command that called the program, ready to be pasted into a terminal.

    This is ``python train.py`` if ``python`` is the interpreter of this environment. Otherwise, for
    example if the environment is not activated, it starts with the path of the interpreter.
    """
    script = Path(sys.argv[0])
    if script.stem == "srulight":
        return _callable(script, ["srulight"])
    python = _callable(Path(sys.executable), ["python", "python3"])
    if script.suffix == ".py" and script.stem != "__main__":
        return f"{python} {shlex.quote(sys.argv[0])}"
    return f"{python} -m srulight"


def _callable(path: Path, names: list[str]) -> str:
    """Returns the first name under which a shell finds this file, or else its path."""
    for name in names:
        # Do not resolve links: the python of an environment is a link to the system's.
        if Path(shutil.which(name) or "") == path.absolute():
            return name
    near = path.absolute()
    # A shell looks up a name without a slash in PATH only.
    if near.parent != Path.cwd() and near.is_relative_to(Path.cwd()):
        near = near.relative_to(Path.cwd())
    return shlex.quote(str(near))
