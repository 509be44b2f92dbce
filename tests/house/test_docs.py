"""The pages say what the files say, and what they say to do works."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from recbole_ext.__main__ import COMMANDS
from recbole_ext.seams.registry import is_registered
from recbole_ext.tools.command_line import parser_of, settings_of
from recbole_ext.tools.hyperparameters import table
from recbole_ext.tools.search.space import read_space
from recbole_ext.tools.search.task import Task
from tests.worlds.places import ROOT

HYPER = ROOT / "hyper"
MODELS = [p.stem for p in (ROOT / "properties/model").glob("*.yaml") if is_registered(p.stem)]
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "benchmarks/README.md")),
    *sorted((ROOT / "results").glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
TITLED = re.compile(r'^```(?:python|yaml) title="([\w.-]+)"\n(.*?)^```$', re.M | re.S)
FENCED = re.compile(r"^```.*?^```$", re.M | re.S)
PATH = re.compile(
    r"`((?:recbole_ext|tests|docs|properties|benchmarks|results|examples|hyper)/[\w./-]+)`"
)
# What "A model of your own" tells to write
TO_BE_WRITTEN = re.compile("biased[_-]?bpr", re.I)


def page_ids(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= 900


@pytest.mark.parametrize("page", PAGES, ids=page_ids)
def test_what_a_page_links_to_and_names_is_there(page: Path) -> None:
    text = FENCED.sub("", page.read_text())
    for link in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text):
        assert (page.parent / link).exists(), link
    for path in PATH.findall(text):
        assert (ROOT / path).exists() or TO_BE_WRITTEN.search(path), path


@pytest.mark.parametrize("page", PAGES, ids=page_ids)
def test_no_line_of_prose_is_long(page: Path) -> None:
    lines = FENCED.sub("", page.read_text()).splitlines()
    assert [line for line in lines if len(line) > 120 and not line.startswith("|")] == []


@pytest.mark.parametrize("page", PAGES, ids=page_ids)
def test_modules_that_a_page_names_are_there(page: Path) -> None:
    if page.name == "CHANGELOG.md":  # it names what has gone
        return
    for name in re.findall(r"(?:from|import|-m|:::|`) ?(recbole_ext(?:\.\w+)+)", page.read_text()):
        names = name.split(".")
        found = (ROOT.joinpath(*names[:end]) for end in range(len(names), 1, -1))
        assert any(path.is_dir() or path.with_suffix(".py").is_file() for path in found) or (
            name.count(".") == 1 and hasattr(sys.modules["recbole_ext"], names[1])
        ), name


@pytest.mark.parametrize("page", PAGES, ids=page_ids)
def test_the_commands_of_a_page_can_be_read(page: Path) -> None:
    shell = "".join(re.findall(r"^```bash\n(.*?)^```$", page.read_text(), re.M | re.S))
    for line in shell.replace("\\\n", "").splitlines():
        command, *given = shlex.split(line, comments=True) or [""]
        if command == "recbole-ext":
            module = import_module(f"recbole_ext.tools.{COMMANDS[given[0]][0]}")
            parser = parser_of(given[0], module)
            options, settings = parser.parse_known_args(given[1:])
            if module.TAKES_SETTINGS:
                settings_of(parser, options, settings)
            else:
                assert settings == []


@pytest.mark.parametrize("model", MODELS)
def test_the_models_page_has_its_table_and_is_linked_from_the_readme(model: str) -> None:
    page = (ROOT / f"docs/models/{model}.md").read_text()
    assert f"\n<!-- hyper-parameters: {model} -->\n" in page
    assert f"| [`{model}`](docs/models/{model}.md) |" in (ROOT / "README.md").read_text()
    assert f"models/{model}.md" in (ROOT / "mkdocs.yml").read_text()
    for key in re.findall(r"^(\w+):", (ROOT / f"properties/model/{model}.yaml").read_text(), re.M):
        assert f"| `{key}` " in table(model), key


SPACES = {"LambdaOptMF": "hyper.test", **{p.stem: f"hyper/{p.name}" for p in HYPER.glob("*")}}


@pytest.mark.parametrize("model", SPACES)
def test_the_example_spaces_fit_their_models_and_stand_in_their_pages(model: str) -> None:
    settings = {"train_neg_sample_args": None} if model == "LightSANs" else {}
    Task.read(model, "ml-100k", [], settings).check(read_space(ROOT / SPACES[model]))
    if model in MODELS:
        page = (ROOT / f"docs/models/{model}.md").read_text()
        assert f"```\n{(ROOT / SPACES[model]).read_text()}```" in page


def test_every_requirement_has_a_reason() -> None:
    page = (ROOT / "docs/dependencies.md").read_text()
    setup = (ROOT / "setup.cfg").read_text()
    requirements = setup.split("install_requires =")[1].split("\n\n")[0]
    extras = setup.split("[options.extras_require]")[1].split("\n[")[0]
    for name in re.findall(r"^    ([\w-]+)", requirements + extras, re.M):
        assert f"`{name}" in page, name


def test_the_dependencies_are_linked_from_the_readme() -> None:
    assert "(docs/dependencies.md)" in (ROOT / "README.md").read_text()


@pytest.mark.slow
def test_a_model_of_your_own_works_as_its_page_says(tmp_path: Path) -> None:
    page = (ROOT / "docs/contributing.md").read_text()
    files = dict(TITLED.findall(page))
    assert set(files) == {
        "biased_bpr.py",
        "biased_bpr.yaml",
        "run_biased_bpr.py",
        "ml-100k-biased-bpr.yaml",
    }
    rest = re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S)
    for name, text in {**files, "refused.py": "\n".join(rest)}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert "'ndcg@10'" in python("run_biased_bpr.py", tmp_path)
    python("refused.py", tmp_path)


def test_the_protocol_of_your_own_model_is_one() -> None:
    files = dict(TITLED.findall((ROOT / "docs/contributing.md").read_text()))
    ours = yaml.safe_load(files["ml-100k-biased-bpr.yaml"])
    known = yaml.safe_load((ROOT / "benchmarks/protocols/ml-100k.yaml").read_text())
    assert ours.keys() == known.keys()
    assert ours["settings"] == known["settings"]
    assert ours["reference"] in [group["name"] for group in ours["runs"]]


def python(file: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", file], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_diff_of_a_new_hyperparameter_fits_the_files() -> None:
    """What it leaves as it is stands in the files; what it adds is in three places."""
    page = (ROOT / "docs/contributing.md").read_text()
    diff = re.search(r"^```diff\n(.*?)^```$", page, re.M | re.S)
    assert diff is not None
    parts = re.split(r"^--- a/.*\n\+\+\+ b/", diff[1], flags=re.M)[1:]
    assert len(parts) == 3
    for part in parts:
        name, *lines = part.splitlines()
        file = (ROOT / name).read_text()
        assert all(line[1:] in file for line in lines if line.startswith(" ")), name
