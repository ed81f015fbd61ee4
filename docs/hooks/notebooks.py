"""Fits the pages of notebooks into the site.

mkdocs-jupyter adds scripts that would load MathJax and Mermaid from other servers, which no page
here does, and leaves links to other pages as they are written.
"""

import posixpath
import re

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page
from mkdocs.utils import normalize_url

_FOREIGN = re.compile(
    r'<script(?: src=""| type="text/x-mathjax-config"| type="module")>.*?</script>', re.DOTALL
)
_LINK = re.compile(r'(?<=<a href=")(?!https?:)([^"#]+\.md)')


def on_page_content(
    content: str, page: Page, config: MkDocsConfig, files: Files, **_: object
) -> str:
    """Removes the scripts, and turns links to Markdown files into links to their pages.

    Args:
        content: The page in HTML.
        page: The page.
        config: The site's configuration; not used.
        files: The files of the site, among which the links are looked up.
    """
    if not page.file.src_uri.endswith(".ipynb"):
        return content

    def linked(link: re.Match[str]) -> str:
        folder = page.file.src_uri.rpartition("/")[0]
        target = files.get_file_from_path(posixpath.normpath(f"{folder}/{link[1]}"))
        if target is None:
            raise PluginError(f"{page.file.src_uri}: there is no page {link[1]}")
        return normalize_url(target.url, page)

    return _LINK.sub(linked, _FOREIGN.sub("", content))
