"""What tests want to know of an HTML page, read by the parser of the standard library."""

from collections import Counter
from html.parser import HTMLParser

__all__ = ["Page", "read_page"]

_VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


class Page(HTMLParser):
    """A page that was read.

    Members
    -------
    tags : Counter
        Elements by name.
    ids : list of str
    attributes : list of (tag, name, value)
    words : str
        All text outside of styles.
    style : str
    problems : list of str
        Elements that are not closed, or closed twice; attributes given twice; a paragraph in a paragraph.
    """

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.tags, self.ids, self.attributes, self.problems = Counter(), [], [], []
        self.words = self.style = ""
        self._open = []

    def handle_starttag(self, tag, attrs):
        self.tags[tag] += 1
        names = [name for name, _ in attrs]
        if len(set(names)) != len(names):
            self.problems.append(f"{tag}: an attribute twice")
        if tag in ("p", "div", "table", "section", "ul", "ol", "dl", "h2", "h3", "figure") and "p" in self._open:
            self.problems.append(f"{tag} in a paragraph")
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.problems.append(f"{tag}: closes itself")

    def handle_endtag(self, tag):
        if not self._open or self._open.pop() != tag:
            self.problems.append(f"{tag}: closed, but not the last that was opened")

    def handle_data(self, data):
        if self._open[-1:] == ["style"]:
            self.style += data
        else:
            self.words += f" {data}"

    def close(self):
        super().close()
        self.problems += [f"{tag}: not closed" for tag in self._open]


def read_page(text: str) -> Page:
    """Read a page to its end."""
    page = Page()
    page.feed(text)
    page.close()
    page.words = " ".join(page.words.split())
    return page
