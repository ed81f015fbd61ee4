"""Adds compiled kernels to the wheel if SRULIGHT_PREBUILT names their folder (``make wheel``)."""

import os
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PrebuiltKernels(BuildHookInterface[Any]):
    """Adds the libraries, and tags the wheel for this platform and any version of Python 3."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Adds the libraries before the wheel is built."""
        folder = os.environ.get("SRULIGHT_PREBUILT")
        if not folder or version == "editable":
            return
        libraries = sorted(Path(self.root, folder).glob("sru-*.so"))
        if not libraries:
            raise FileNotFoundError(
                f"SRULIGHT_PREBUILT must name a folder with sru-*.so, got {folder!r}; run make "
                "prebuilt"
            )
        for library in libraries:
            build_data["force_include"][str(library)] = f"srulight/lib/{library.name}"
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data.update(pure_python=False, tag=f"py3-none-{platform}")
