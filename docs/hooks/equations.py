"""Converts equations to MathML while the site is built, so that pages need no script.

Authors write TeX, ``$...$`` within a line and ``$$...$$`` on lines of their own. The extension
``pymdownx.arithmatex`` finds the equations; this hook replaces what it marks.
"""

import html
import re

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError
from mkdocs.structure.pages import Page

_MARKED = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\s*\\[(\[](?P<tex>.*?)\\[)\]]\s*</(?P=tag)>', re.DOTALL
)


def on_page_content(content: str, page: Page, **_: object) -> str:
    """Replaces the equations of a page.

    Args:
        content: The page in HTML.
        page: The page, which an error names.
    """
    return _MARKED.sub(lambda marked: _mathml(marked, page.file.src_uri), content)


def _mathml(marked: re.Match[str], place: str) -> str:
    tag, tex = marked["tag"], html.unescape(marked["tex"])
    display = "inline" if tag == "span" else "block"
    # The converter knows the environment for whole displays only.
    known = tex.replace("{aligned}", "{align*}")
    mathml = convert(known, display=display)
    if left := re.search(r"<m[io]>(\\[^<]*|&)</m[io]>", mathml):
        raise PluginError(f"{place}: latex2mathml does not know {left[1]!r} in {tex!r}")
    return f'<{tag} class="equation">{mathml}</{tag}>'
