"""The places of the yaml files and the names of RecBole's models, without importing RecBole."""

from __future__ import annotations

import importlib.util
import re
from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
# The folder is inside an installed package, but beside the package in a checkout.
_PLACES = (_PACKAGE / "properties", _PACKAGE.parent / "properties")
PROPERTIES = next((place for place in _PLACES if place.is_dir()), _PLACES[0])


@cache
def recbole_folder() -> Path:
    """The folder of the installed RecBole."""
    spec = importlib.util.find_spec("recbole")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("RecBole is not installed; pip install --no-deps recbole==1.2.1")
    return Path(spec.origin).parent


@cache
def model_names() -> frozenset[str]:
    """Names of RecBole's models: the class in each model file that has the file's name."""
    return frozenset(
        name
        for path in (recbole_folder() / "model").glob("*_recommender/*.py")
        for name in re.findall(r"^class (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
        if name.lower() == path.stem
    )
