"""Every row of ``bad_input.md`` is done as it says, and must give the error that it says."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from recbole.utils import get_model

from recbole_ext import load_data_and_model, run_recbole
from recbole_ext.lambda_opt.lambda_network.dump import read_dump
from recbole_ext.quick_start import checked_config
from recbole_ext.runs.checkpoint import last_file, load_checkpoint, write_atomically
from recbole_ext.seams.registry import properties_of
from recbole_ext.settings.general import CHECKS
from recbole_ext.tools.search.space import read_space
from tests.worlds.helpers import Run
from tests.worlds.places import ROOT
from tests.worlds.rated_world import write_ratings

OURS = ("LambdaOptMF", "MeLU", "MAMO", "ResNetMF")
PAGE = (ROOT / "tests" / "settings" / "bad_input.md").read_text(encoding="utf-8")
Row = list[str]


def table(section: str) -> list[Row]:
    """The cells of a section's table, without the backticks around them."""
    lines = PAGE.split(f"## {section}\n")[1].split("\n## ")[0].splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    return [[cell.strip().strip("`") for cell in row] for row in rows[2:]]


def keys_of(model: str) -> set[str]:
    """Every key of the yaml files that a model reads."""
    texts = (path.read_text(encoding="utf-8") for path in properties_of(get_model(model)))
    return {key for text in texts for key in yaml.safe_load(text) or {}}


def pattern(message: str) -> str:
    """A message as an expression, in which … stands for anything."""
    return "^" + ".*".join(re.escape(part) for part in message.split("…")) + "$"


SETTINGS, DATA, FILES = table("Settings"), table("Data"), table("Checkpoints and other files")


@pytest.mark.parametrize(("given", "models", "message"), SETTINGS, ids=[row[0] for row in SETTINGS])
def test_a_setting(given: str, models: str, message: str) -> None:
    for model in models.split(", "):
        with pytest.raises((ValueError, FileNotFoundError), match=pattern(message)):
            checked_config(model, "ml-100k", None, yaml.safe_load(f"{{{given}}}"))


def test_every_hyperparameter_of_ours_and_every_general_setting_is_in_the_table() -> None:
    told = {(model, key) for given, models, _ in SETTINGS for model in models.split(", ")
            for key in yaml.safe_load(f"{{{given}}}")}  # fmt: skip
    general = {key for _, key in told}
    for model in OURS:
        words = keys_of(model)
        missing = [key for key in words if (model, key) not in told and key not in CHECKS]
        assert missing == []
    assert set(CHECKS) <= general


@pytest.mark.parametrize(("model", "file", "content", "message"), DATA, ids=[r[2] for r in DATA])
def test_data(model: str, file: str, content: str, message: str, tmp_path: Path) -> None:
    world = {**write_ratings(tmp_path, lambda user, item: 1 + (user * 7 + item * 3) % 5)}
    path = tmp_path / "data" / "rated" / f"rated{file}"
    path.write_bytes(content.encode().decode("unicode_escape").encode("latin-1"))
    if not content:
        path.unlink()
    with pytest.raises((ValueError, FileNotFoundError), match=pattern(message)):
        Run(model, **{**world, "load_col": None}).fit()


def trained(tmp_path: Path, model: str | None = None, **settings: Any) -> Path:
    world = write_ratings(tmp_path, lambda user, item: 1.0)
    return Path(Run(model, **{**world, **settings}).fit().trainer.saved_model_file)


def cut_short(tmp_path: Path) -> None:
    path = trained(tmp_path)
    path.write_bytes(path.read_bytes()[:-500])
    load_data_and_model(path.rename("x.pth"))


def no_checkpoint(tmp_path: Path) -> None:
    Path("x.pth").write_text("user_id:token")
    load_data_and_model("x.pth")


def weights_alone(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(2)}, "x.pth")
    load_data_and_model("x.pth")


def not_there(tmp_path: Path) -> None:
    load_data_and_model("x.pth")


def go_on(path: Path, tmp_path: Path, model: str | None = None, **settings: Any) -> None:
    data = {"dataset": "rated", "data_path": str(tmp_path / "data"), "train_batch_size": 64}
    Run(model, **{**data, **settings, "resume_file": str(path)}).fit()


def other_model(tmp_path: Path) -> None:
    go_on(trained(tmp_path).rename("x.pth"), tmp_path, model="BPR")


def other_data(tmp_path: Path) -> None:
    go_on(trained(tmp_path).rename("x.pth"), tmp_path, dataset="ml-100k", data_path="dataset")


def other_size(tmp_path: Path) -> None:
    go_on(trained(tmp_path).rename("x.pth"), tmp_path, embedding_size=8)


def lacking(tmp_path: Path) -> None:
    content = load_checkpoint(trained(tmp_path))
    del content["optimizer"]
    write_atomically(content, "x.pth")
    go_on(Path("x.pth"), tmp_path)


def last_alone(tmp_path: Path) -> None:
    go_on(last_file(trained(tmp_path)).rename("x.pth"), tmp_path)


def data_gone(tmp_path: Path) -> None:
    path = trained(tmp_path)
    (tmp_path / "data" / "rated" / "rated.inter").unlink()
    load_data_and_model(path)


def pickled_data(tmp_path: Path) -> None:
    Path("saved").mkdir()
    Path("saved/rated-Dataset.pth").write_bytes(pickle.dumps({}))
    trained(tmp_path, model="BPR")


def the_best_epoch(tmp_path: Path) -> None:
    path = trained(tmp_path)
    content = load_checkpoint(last_file(path))
    write_atomically({**content, "epoch": 7}, last_file(path))
    go_on(path, tmp_path)


def params(line: str) -> Callable[[Path], Any]:
    def read(tmp_path: Path) -> None:
        Path("hyper.test").write_text(line + "\n")
        read_space(Path("hyper.test"))

    return read


def no_dump(tmp_path: Path) -> None:
    read_dump("saved/x-lambda")


def diverging(tmp_path: Path) -> None:
    run_recbole("ResNetMF", config_dict={
        **write_ratings(tmp_path, lambda u, i: 1 + (u * 7 + i * 3) % 5),
        "learning_rate": 1e30, "show_progress": False, "state": "ERROR",
    })  # fmt: skip


CASES: dict[str, Callable[[Path], Any]] = {
    "a checkpoint that was cut short": cut_short,
    "a file that is no checkpoint": no_checkpoint,
    "weights without the rest": weights_alone,
    "a checkpoint that is not there": not_there,
    "resumed with another model": other_model,
    "resumed with another data set": other_data,
    "resumed with another size": other_size,
    "resumed from a file without an optimiser": lacking,
    "a last state without its best epoch": last_alone,
    "resumed from the best epoch where a later state is there": the_best_epoch,
    "a checkpoint whose data is gone": data_gone,
    "a data set that was pickled": pickled_data,
    "a params file with code": params("epochs choice [exec('x = 1')]"),
    "a params file with an unknown kind": params("epochs normal 0,1"),
    "a params file that turns the ends of an interval round": params("epochs uniform 5,1"),
    "λ of a run that did not keep them": no_dump,
    "numbers that grow without bound": diverging,
}


@pytest.mark.parametrize(("what", "message"), FILES, ids=[row[0] for row in FILES])
def test_a_file(what: str, message: str, tmp_path: Path) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=pattern(message)):
        CASES[what](tmp_path)


def test_every_case_is_in_the_table() -> None:
    assert {row[0] for row in FILES} == set(CASES)
