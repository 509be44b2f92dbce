"""Nothing from a file or a command line runs as code: each attempt here would leave a trace."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from recbole.config import Config

from recbole_ext import load_data_and_model
from recbole_ext.__main__ import main
from recbole_ext.runs.checkpoint import load_checkpoint
from recbole_ext.settings.literals import literal
from recbole_ext.tools import new_users as cold_start
from tests.worlds.helpers import Run, safe_loading

CODE = "__import__('os').system('touch ran')"


class Hidden:
    """What it is unpickled to is a command that is run."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch ran",)


def in_torchs_format(path: Path) -> None:
    torch.save({"config": Hidden(), "state_dict": {}}, path)


def in_torchs_old_format(path: Path) -> None:
    content = {"config": Hidden(), "state_dict": {}}
    torch.save(content, path, _use_new_zipfile_serialization=False)


def as_a_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps(Hidden()))


def inside_a_real_one(path: Path) -> None:
    """A checkpoint of ours whose pickle is another's."""
    source = Run("BPR", dataset="ml-100k", epochs=1).fit(valid=False).trainer.saved_model_file
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            hidden = name.endswith("data.pkl")
            new.writestr(name, pickle.dumps(Hidden(), 2) if hidden else old.read(name))


FORMS = [in_torchs_format, in_torchs_old_format, as_a_pickle, inside_a_real_one]
READERS: dict[str, Callable[[str], Any]] = {
    "load_checkpoint": load_checkpoint,
    "load_data_and_model": load_data_and_model,
    "cold_start.load": cold_start.load,
    "resume_file": lambda file: Run("BPR", resume_file=file).fit(valid=False),
}
COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "recommend": lambda files: main(["recommend", *files, "--ratings=ratings.inter"]),
    "ask": lambda files: main(["ask", *files]),
    "report": lambda files: main(["report", *files]),
    "demo": lambda files: main(["demo", *files, "--port=0"]),
}


def test_the_attempts_are_real() -> None:
    """Should this fail, the other tests show nothing."""
    in_torchs_format(Path("x.pth"))
    torch.load("x.pth", weights_only=False)
    assert Path("ran").is_file()


@safe_loading
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("form", FORMS)
def test_code_in_a_checkpoint_is_refused(form: Callable[[Path], None], reader: str) -> None:
    form(Path("x.pth"))
    with pytest.raises(ValueError, match=r"x\.pth cannot be read"):
        READERS[reader]("x.pth")
    assert not Path("ran").exists()


@safe_loading
@pytest.mark.parametrize("command", COMMANDS)
def test_code_in_a_checkpoint_is_refused_by_every_command(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    in_torchs_format(Path("x.pth"))
    Path("ratings.inter").write_text("user_id:token\titem_id:token\n1\t1\n")
    assert COMMANDS[command](["x.pth"]) == 1
    assert "error: checkpoint x.pth cannot be read" in capsys.readouterr().err
    assert not Path("ran").exists()


@pytest.mark.parametrize("name", ["ml-100k-Dataset.pth", "ml-100k-for-BPR-dataloader.pth"])
def test_code_in_a_pickled_data_set_is_refused(name: str) -> None:
    Path("saved").mkdir()
    as_a_pickle(Path("saved") / name)
    with pytest.raises(ValueError, match="is a pickled data set, which can run any code"):
        Run("BPR", checkpoint_dir="saved")
    assert not Path("ran").exists()


@pytest.mark.parametrize("key", ["epochs", "state", "wandb_project", "eval_args", "nothing_known"])
def test_code_on_a_command_line_is_text(key: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["run", "--model=BPR", "--dataset=nowhere", f"--{key}={CODE}"])
    assert "error: " in capsys.readouterr().err
    assert not Path("ran").exists()


def test_code_on_any_scripts_command_line_is_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["script.py", f"--wandb_project={CODE}"])
    assert Config("BPR", "ml-100k")["wandb_project"] == CODE
    assert Config("BPR", "ml-100k", config_dict={"wandb_project": CODE})["wandb_project"] == CODE
    assert not Path("ran").exists()


@pytest.mark.parametrize("tag", ["apply:os.system", "new:os.system"])
def test_code_in_a_yaml_is_refused(tag: str) -> None:
    Path("x.yaml").write_text(f"wandb_project: !!python/object/{tag} ['touch ran']\n")
    with pytest.raises(SystemExit):
        main(["run", "--config_files=x.yaml"])
    with pytest.raises(yaml.YAMLError):
        Config("BPR", "ml-100k", ["x.yaml"])
    assert not Path("ran").exists()


def test_code_as_text_in_a_yaml_stays_text() -> None:
    Path("x.yaml").write_text(f'wandb_project: "{CODE}"\n')
    assert Config("BPR", "ml-100k", ["x.yaml"])["wandb_project"] == CODE
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    "line",
    [
        f"wandb_project choice [{CODE}]",
        f'wandb_project choice ["{CODE}"]',
        f"learning_rate uniform {CODE},1",
        f"{CODE} choice [1]",
    ],
)
def test_code_in_a_params_file_is_refused(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("hyper.test").write_text(line + "\n")
    assert main(["search", "--model=BPR", "--dataset=ml-100k"]) == 1
    assert "error: hyper.test, line 1" in capsys.readouterr().err
    assert not Path("ran").exists()


def test_what_a_literal_is() -> None:
    values = {"1e-3": 1e-3, "[10,20]": [10, 20], "{'a': None}": {"a": None}, "TRUE": True}
    values |= {"None": None, "false": False, "1/1000": "1/1000", "max": "max", "{1}": "{1}"}
    assert {text: literal(text) for text in values} == values
    assert literal("[" * 100_000) == "[" * 100_000
