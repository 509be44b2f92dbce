"""Reading a report back: what stands in which section, and what a browser would load."""

from __future__ import annotations

import base64
from collections import defaultdict
from html.parser import HTMLParser
from pathlib import Path

Rows = list[dict[str, str]]


class Page(HTMLParser):
    """A page, parsed as a browser does.

    Attributes:
        tables: by section, without the run's number if there is one run.
        facts: by section; of the header, under the run's number.
        text: by section, all of its text.
        bold: what is bold in tables.
        tags: every element's name.
        addresses: of images, links and whatever else has one.
    """

    def __init__(self, page: str | Path) -> None:
        super().__init__()
        self.tables: dict[str, list[Rows]] = defaultdict(list)
        self.facts: dict[str, dict[str, str]] = defaultdict(dict)
        self.text: dict[str, str] = defaultdict(str)
        self.bold: list[str] = []
        self.code = ""
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self._section = self._in = self._name = ""
        self._columns: list[str] = []
        self._row: list[str] = []
        self.feed(Path(page).read_text(encoding="utf-8"))

    def pictures(self) -> list[str]:
        """The images' own text."""
        data = "data:image/svg+xml;base64,"
        coded = [address.removeprefix(data) for address in self.addresses if data in address]
        return [base64.b64decode(code).decode("utf-8") for code in coded]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        assert not any(name.startswith("on") for name in values)
        self.addresses += [values[name] for name in ("src", "href") if name in values]
        if tag in ("section", "article"):
            self._section = values["id"]
        if tag == "table":
            self.tables[self._section].append([])
            self._columns = []
        if tag == "tr":
            self._row = []
        if tag in ("td", "th", "dt", "dd", "b", "pre"):
            self._in = tag
        if tag == "td":
            self._row.append("")

    def handle_data(self, data: str) -> None:
        self.text[self._section] += data
        if self._in == "th":
            self._columns.append(data)
        elif self._in in ("td", "b") and self._row is not None and self._columns:
            if self._row:
                self._row[-1] += data
            if self._in == "b":
                self.bold.append(data)
        elif self._in == "dt":
            self._name = data
        elif self._in == "dd":
            self.facts[self._section][self._name] = data
        elif self._in == "pre":
            self.code = data

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th", "dt", "dd", "pre"):
            self._in = ""
        if tag == "tr" and self._row:
            self.tables[self._section][-1].append(dict(zip(self._columns, self._row, strict=True)))
