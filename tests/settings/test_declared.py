"""A hyper-parameter is declared once: its class, its yaml line and its row of the table agree."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
import yaml
from recbole.config import Config
from recbole.model.general_recommender import BPR
from recbole.utils import get_model

from recbole_ext import register_model
from recbole_ext.seams.registry import properties_of
from recbole_ext.settings.declared import (
    FLAG,
    NAME,
    Declared,
    Kind,
    all_or_whole,
    declarations,
    one_of,
    optional,
    real,
    some_whole,
    whole,
)
from recbole_ext.settings.reading import Settings
from recbole_ext.settings.yaml_files import PROPERTIES
from recbole_ext.tools.hyperparameters import COMMENTS_FROM, comment_of, declared_by, table
from tests.worlds.helpers import QUICK

MODELS = ("LambdaOptMF", "MeLU", "MAMO", "ResNetMF")


@dataclass(frozen=True)
class Example(Declared):
    """One hyper-parameter of each kind."""

    size: Annotated[int, whole(1), "A size. It is not small."]
    rate: Annotated[float, real(above=0, maximum=2), "A rate."]
    kind: Annotated[str, one_of("one", "two"), "A kind."]
    flag: Annotated[bool, FLAG, "A flag."]
    most: Annotated[int | None, all_or_whole(2), "A number or all."]
    sizes: Annotated[list[int], some_whole(1), "Sizes."]
    column: Annotated[str | None, NAME, "A column."]
    level: Annotated[float | None, optional(real(minimum=0, below=1)), "A level."]

    def check(self, config: Settings) -> None:
        if self.size > 5 and self.kind == "two":
            raise ValueError(f"size must be at most 5 with kind: two, got {self.size}")


GOOD: dict[str, Any] = {
    "size": 3,
    "rate": 0.5,
    "kind": "one",
    "flag": True,
    "most": "all",
    "sizes": [4, 2],
    "column": None,
    "level": 0,
}


def lines_of(model: str) -> list[str]:
    """The lines with a key in our yaml files that a model reads."""
    paths = [path for path in properties_of(get_model(model)) if path.is_relative_to(PROPERTIES)]
    lines = [line for path in paths for line in path.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if not line.startswith("#")]


def test_the_values_are_read() -> None:
    assert Example.read(GOOD) == Example(3, 0.5, "one", True, None, [4, 2], None, 0.0)
    assert Example.read({**GOOD, "level": None, "column": "age"}).column == "age"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("size", 0, "size must be a whole number of at least 1, got 0"),
        ("rate", 0, "rate must be a number above 0 and at most 2, got 0"),
        ("rate", 3, "rate must be a number above 0 and at most 2, got 3"),
        ("kind", "three", "kind must be one of one, two; got 'three'"),
        ("flag", 1, "flag must be True or False, got 1"),
        ("most", 1, "most must be all or a whole number of at least 2, got 1"),
        ("sizes", [0], "sizes must be a whole number of at least 1, got 0"),
        ("column", "", "column must be a name or empty, got ''"),
        ("level", 1, "level must be a number of at least 0 and below 1, got 1"),
    ],
)
def test_a_value_out_of_range_is_named(key: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Example.read({**GOOD, key: value})


def test_values_that_contradict_are_refused() -> None:
    with pytest.raises(ValueError, match="size must be at most 5 with kind: two, got 6"):
        Example.read({**GOOD, "size": 6, "kind": "two"})


def test_declarations_hold_what_the_tables_need() -> None:
    size, rate, *_, level = declarations(Example)
    assert (size.name, size.kind.type, size.kind.range) == ("size", "int", "at least 1")
    assert size.short == "A size."
    assert (rate.kind.range, rate.short) == ("above 0 and at most 2", "A rate.")
    assert level.kind.range == "at least 0 and below 1, or empty"


@pytest.mark.parametrize("model", MODELS)
def test_every_line_of_a_yaml_says_what_the_class_declares(model: str) -> None:
    declared = declared_by(get_model(model))
    for line in lines_of(model):
        key, _, comment = line.partition(" # ")
        name = key.partition(":")[0]
        if name in declared:
            assert "# " + comment == comment_of(declared[name], key.ljust(COMMENTS_FROM)), name


@pytest.mark.parametrize("model", MODELS)
def test_every_declared_hyperparameter_has_a_default_and_a_row(model: str) -> None:
    rows = table(model)
    defaults = Config(model, "ml-100k", config_dict=dict(QUICK))
    for name, declared in declared_by(get_model(model)).items():
        if name in ("learning_rate", "weight_decay") and model == "LambdaOptMF":
            continue  # RecBole's own defaults
        row = next(line for line in rows.splitlines() if line.startswith(f"| `{name}`"))
        _, _, kind, default, range_, meaning, _ = (cell.strip() for cell in row.split("|"))
        assert (kind, range_, meaning) == (
            declared.kind.type,
            declared.kind.range,
            declared.meaning,
        )
        assert _value(default) == _value(str(defaults[name])), name


def _value(text: str) -> Any:
    value = yaml.safe_load(text.strip("`").replace("None", "~").replace("'", ""))
    return float(value) if re.fullmatch(r"-?[\d.]+(e-?\d+)?", str(value)) else value


@pytest.mark.parametrize("model", MODELS)
def test_every_line_of_a_yaml_has_a_type_and_a_sentence(model: str) -> None:
    types = {"int", "float", "str", "bool", "list", "dict"}
    for line in lines_of(model):
        key, _, comment = line.partition("# (")
        assert comment.partition(")")[0] in types, key
        assert line.endswith("."), key
        assert len(line) <= 120, key


def test_a_model_of_ones_own_is_checked_by_its_settings_classes(tmp_path: Any) -> None:
    @dataclass(frozen=True)
    class OwnSettings(Declared):
        own_size: Annotated[int, whole(2), "The size."]

    class OwnModel(BPR):
        settings_classes = (OwnSettings,)

    (tmp_path / "own.yaml").write_text("own_size: 3\n")
    register_model(OwnModel, properties=tmp_path / "own.yaml")
    assert Config("OwnModel", "ml-100k", config_dict=dict(QUICK))["own_size"] == 3
    with pytest.raises(ValueError, match="own_size must be a whole number of at least 2, got 1"):
        Config("OwnModel", "ml-100k", config_dict={**QUICK, "own_size": 1})


def test_kinds_can_be_made_for_one_hyperparameter() -> None:
    pair = Kind(lambda config, key: tuple(config[key]), "list", "two numbers")
    assert pair.read({"ends": [1, 2]}, "ends") == (1, 2)
