"""The command line, as a person at a terminal meets it."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from recbole_ext.__main__ import main
from tests.worlds.helpers import SHORT, small_world
from tests.worlds.places import ML_1M, ROOT


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", str(ROOT / "run.py"), *arguments],
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("script", ["run.py", "run_hyper.py"])
def test_help_comes_without_ray_which_takes_seconds(script: str) -> None:
    code = (
        f"import runpy, sys; sys.argv = ['{script}', '--help']\n"
        f"try: runpy.run_path(sys.path[0] + '/{script}', run_name='__main__')\n"
        "except SystemExit as end: print('status', end.code, 'ray' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--config_files" in done.stdout
    assert done.stdout.strip().endswith("status 0 False")


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("epochs=3", "'epochs=3' is not of the form --key=value"),
        ("--epochs", "'--epochs' is not of the form --key=value"),
        ("--config_files=gone.yaml", "there is no file 'gone.yaml'"),
        ("--nproc=x", "argument --nproc: invalid int value: 'x'"),
    ],
)
def test_a_malformed_argument_is_named(
    argument: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["run", argument])
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "# nothing", "just words", "a: [1"])
def test_a_config_file_that_is_no_mapping_is_named(
    tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(content)
    with pytest.raises(SystemExit, match="2"):
        main(["run", f"--config_files={file}"])
    assert "bad.yaml" in capsys.readouterr().err


def test_a_key_given_twice_with_two_values_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["run", "--epochs=1", "--epochs=2"])
    assert "--epochs is given twice, as '1' and '2'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--model=LightSAN"],
            "error: model: there is no model 'LightSAN'. Did you mean LightSANs",
        ),
        (["--embeding_size=8"], "'embeding_size'. Did you mean embedding_size"),
        (["--lambda_granularity=all"], "lambda_granularity must be one of power-law, global"),
        (["--valid_metric=Foo@10"], "error: valid_metric: Foo@10 is not computed"),
        (["--metrics=[Foo]"], "error: metrics: there is no metric '[Foo]'"),
        (["--nproc=999"], "error: nproc: 999 processes need 999 CPUs, and there are "),
        (["--nproc=2", "--world_size=1"], "are the processes up to number 2, but world_size is 1"),
        (["--dataset=nowhere"], "error: dataset 'nowhere': there is no folder dataset/nowhere"),
    ],
)
def test_a_wrong_value_gives_one_line_and_no_traceback(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--state=ERROR", *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_a_run_ends_with_a_table_and_can_be_resumed(
    write_dataset: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    common = [
        *("run", "--model=LambdaOptMF", "--dataset=world"),
        f"--data_path={write_dataset(small_world())}",
        "--load_col={'inter':['user_id','item_id']}",
        *("--show_progress=False", "--embedding_size=8"),
        *(f"--{key}={value}" for key, value in SHORT.items()),
    ]
    assert main([*common, "--epochs=2"]) == 0
    first = capsys.readouterr().out
    assert "LambdaOptMF on world" in first
    assert "metric" in first
    assert "seconds: loading" in first
    checkpoint = first.split("checkpoint: ")[1].strip()
    assert Path(checkpoint).is_file()

    with caplog.at_level(logging.INFO):
        assert main([*common, "--epochs=4", f"--resume_file={checkpoint}"]) == 0
    assert "Resume training from epoch" in caplog.text
    assert f"checkpoint: {checkpoint}" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.skipif(not ML_1M.is_dir(), reason="ml-1m is not distributed with the project")
def test_ml_1m_from_a_folder() -> None:
    done = run(
        "--dataset=ml-1m",
        f"--data_path={ML_1M.parent}",
        "--load_col={'inter':['user_id','item_id','rating']}",
        "--epochs=1",
        "--show_progress=False",
        *(f"--{key}={value}" for key, value in SHORT.items()),
    )
    assert done.returncode == 0, done.stderr
    assert "LambdaOptMF on ml-1m" in done.stdout
