"""What a test asks of an HTML page: is it well-formed, does it ask for anything, and what does it say."""

from __future__ import annotations

import re
from html.parser import HTMLParser

VOID = {"meta", "br", "link", "img", "input", "hr"}
ADDRESSES = {"src", "href", "srcset", "action", "data", "poster", "xlink:href", "background", "formaction"}
FETCHING = {"script", "iframe", "object", "embed", "link", "img", "video", "audio", "base", "form"}
ADDRESS_IN_STYLE = re.compile(r"url\(|@import|https?:")


class Page(HTMLParser):
    """`tags`: each element that begins, with its attributes; `text`: what is read; `errors`: what is not closed."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.errors: list[str] = []
        self.style = ""
        self._text: list[str] = []
        self._open: list[str] = []
        self.feed(source)
        self.close()
        self.errors += [f"<{tag}> is not closed" for tag in self._open]

    @property
    def text(self) -> str:
        """With single spaces."""
        return " ".join(" ".join(self._text).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open[-1] != tag:
            self.errors.append(f"</{tag}> at {self.getpos()}, within {self._open[-3:]}")
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "style":
            self.style += data
        else:
            self._text.append(data)

    @property
    def names(self) -> set[str]:
        """Of all elements."""
        return {tag for tag, _ in self.tags}

    def asks_for(self) -> list[str]:
        """Whatever would be fetched, run or sent."""
        found = [tag for tag in self.names if tag in FETCHING]
        for tag, attributes in self.tags:
            found += [f"{tag} {k}={v}" for k, v in attributes.items() if k in ADDRESSES or k.startswith("on")]
            found += [f"{tag} style={v}" for k, v in attributes.items() if k == "style"]
        return found + ADDRESS_IN_STYLE.findall(self.style)
