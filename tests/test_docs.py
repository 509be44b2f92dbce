"""The pages say what the files say."""

from __future__ import annotations

import re

import pytest

from recbole_ext.registry import _PROPERTIES_OF
from recbole_ext.search.space import read_space
from recbole_ext.search.task import Task
from tests.conftest import ROOT

HYPER = ROOT / "hyper"
MODELS = [path.stem for path in (ROOT / "properties/model").glob("*.yaml")]


@pytest.mark.parametrize("model", MODELS)
def test_the_models_page_lists_every_hyperparameter_with_its_default(model: str) -> None:
    page = (ROOT / f"docs/models/{model}.md").read_text()
    yaml = (ROOT / f"properties/model/{model}.yaml").read_text()
    for key, default, kind in re.findall(r"^(\w+): (.*?)\s+# \((\w+)\)", yaml, re.M):
        entry = page.split(f"- ``{key} ({kind})``:")
        assert len(entry) == 2, key
        assert f"Defaults to ``{default}``." in re.sub(r"\s+", " ", entry[1].split("\n- ")[0]), key


@pytest.mark.parametrize("model", MODELS)
def test_the_readme_names_the_model_its_file_and_its_page(model: str) -> None:
    readme = (ROOT / "README.md").read_text()
    assert f"| `{model}` |" in readme
    for path in re.findall(r"\]\(((?:recbole_ext|docs|properties)/[^)#]+)", readme):
        assert (ROOT / path).is_file(), path


SPACES = {"LambdaOptMF": "hyper.test", **{p.stem: f"hyper/{p.name}" for p in HYPER.glob("*")}}


@pytest.mark.parametrize("model", SPACES)
def test_the_example_spaces_fit_their_models_and_stand_in_their_pages(model: str) -> None:
    settings = {"train_neg_sample_args": None} if model == "LightSANs" else {}
    Task.read(model, "ml-100k", [], settings).check(read_space(ROOT / SPACES[model]))
    if model in MODELS:
        page = (ROOT / f"docs/models/{model}.md").read_text()
        assert f"```\n{(ROOT / SPACES[model]).read_text()}```" in page


def test_every_requirement_has_a_reason() -> None:
    readme = (ROOT / "README.md").read_text()
    table = readme.split("## Dependencies")[1].split("## Limits")[0]
    requirements = (ROOT / "setup.cfg").read_text().split("install_requires =")[1].split("\n\n")[0]
    for name in re.findall(r"^    ([\w-]+)", requirements, re.M):
        assert f"`{name}" in table, name


def test_every_yaml_is_of_a_registered_model() -> None:
    assert set(MODELS) <= set(_PROPERTIES_OF)
