"""Puts compiled kernels into the wheel where SRULIGHT_PREBUILT names their folder (make wheel)."""

import os
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PrebuiltKernels(BuildHookInterface[Any]):
    """Adds the libraries, and says that the wheel fits this platform and any Python."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Runs before the wheel is made."""
        folder = os.environ.get("SRULIGHT_PREBUILT")
        if not folder or version == "editable":
            return
        libraries = sorted(Path(self.root, folder).glob("sru-*.so"))
        if not libraries:
            raise FileNotFoundError(f"SRULIGHT_PREBUILT={folder} holds no sru-*.so; run make wheel")
        for library in libraries:
            build_data["force_include"][str(library)] = f"srulight/lib/{library.name}"
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data.update(pure_python=False, tag=f"py3-none-{platform}")
