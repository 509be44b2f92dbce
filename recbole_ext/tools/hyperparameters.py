"""The hyper-parameters of a model as a table, and as comments for its yaml files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from recbole.utils import get_model
from tabulate import tabulate

from recbole_ext.seams.registry import properties_of, variants_of
from recbole_ext.settings.declared import Declaration, Declared, declarations

WIDTH = 120
COMMENTS_FROM = 32  # the column where the comments of a yaml file begin


def table(model: str) -> str:
    """The hyper-parameters of a registered model, in Markdown.

    Args:
        model: the model's name.

    Returns:
        A table of those that the model declares, one of RecBole's own settings that have another
        default here, and one for each variant of the model, such as ``loss: bpr``, with the
        defaults that differ. Defaults are those of the yaml files.
    """
    model_class = get_model(model)
    declared, lines = declared_by(model_class), _lines(properties_of(model_class))
    own = [
        [
            f"`{name}`",
            known.kind.type,
            f"`{value}`" if value else "",
            known.kind.range,
            known.meaning,
        ]
        for name, (value, _) in lines.items()
        if (known := declared.get(name)) is not None
    ]
    theirs = [
        [f"`{name}`", f"`{value}`", comment]
        for name, (value, comment) in lines.items()
        if name not in declared
    ]
    parts = [tabulate(own, ["name", "type", "default", "range", "meaning"], tablefmt="github")]
    if theirs:
        parts += ["RecBole's own settings that have another default here:"]
        parts += [tabulate(theirs, ["name", "default", "meaning"], tablefmt="github")]
    for value, path in variants_of(model_class).items():
        differ = [
            [f"`{name}`", f"`{default}`" if default else "empty"]
            for name, (default, _) in _lines([path]).items()
        ]
        parts += [f"With `{model_class.variant_key}: {value}` these defaults are others:"]
        parts += [tabulate(differ, ["name", "default"], tablefmt="github")]
    return "\n\n".join(parts)


def declared_by(model: Any) -> dict[str, Declaration]:
    """The hyper-parameters that a model's class declares, by name."""
    classes: tuple[type[Declared], ...] = getattr(model, "settings_classes", ())
    return {found.name: found for settings in classes for found in declarations(settings)}


def comment_of(declaration: Declaration, key_and_value: str) -> str:
    """The comment behind a hyper-parameter in a yaml file, with its range if the line has room."""
    gist = f"# ({declaration.kind.type}) {declaration.short}"
    words = declaration.kind.range.replace("`", "")
    both = f"{gist} Range: {words}." if words else gist
    fits = len(key_and_value.ljust(COMMENTS_FROM)) + len(both) <= WIDTH
    return both if fits else gist


def _lines(paths: list[Path]) -> dict[str, tuple[Any, str]]:
    """The value and the comment of each key in some yaml files; the last file comes first."""
    lines: dict[str, tuple[Any, str]] = {}
    for path in reversed(paths):
        text = path.read_text(encoding="utf-8")
        known = yaml.safe_load(text) or {}
        for line in text.splitlines():
            key, _, rest = line.partition(":")
            if key in known:
                value, _, comment = rest.partition(" # ")
                lines.setdefault(key, (value.strip(), comment.partition(") ")[2]))
    return lines
