"""Removes from the pages of notebooks the scripts that would come from other servers."""

import re

from mkdocs.structure.pages import Page

_FOREIGN = re.compile(
    r'<script(?: src=""| type="text/x-mathjax-config"| type="module")>.*?</script>', re.DOTALL
)


def on_page_content(content: str, page: Page, **_: object) -> str:
    """Removes MathJax and Mermaid, which mkdocs-jupyter adds to every notebook.

    Args:
        content: The page in HTML.
        page: The page.
    """
    return _FOREIGN.sub("", content) if page.file.src_uri.endswith(".ipynb") else content
