"""Spaces of hyper-parameters are read, never evaluated; what is drawn follows from the seed."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from recbole_ext.tools.search.space import Parameter, every, is_finite, read_space, sample

FILE = """\
# a comment
learning_rate choice [0.01, 0.001]
net choice ['mlp','resnet']
dropout_prob uniform 0,0.5
hidden_size quniform 32,256,32

weight_decay loguniform -11.5,-6.9
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "hyper.test"
    path.write_text(text)
    return path


def test_every_kind_of_line_is_read(tmp_path: Path) -> None:
    space = read_space(write(tmp_path, FILE))
    assert [(p.name, p.kind, p.values) for p in space] == [
        ("learning_rate", "choice", (0.01, 0.001)),
        ("net", "choice", ("mlp", "resnet")),
        ("dropout_prob", "uniform", (0.0, 0.5)),
        ("hidden_size", "quniform", (32.0, 256.0, 32.0)),
        ("weight_decay", "loguniform", (-11.5, -6.9)),
    ]
    assert not is_finite(space)
    assert is_finite(space[:2])
    assert every(space[:2]) == [
        {"learning_rate": rate, "net": net} for rate in (0.01, 0.001) for net in ("mlp", "resnet")
    ]


def test_what_is_drawn_is_within_its_ends_and_always_the_same(tmp_path: Path) -> None:
    space = read_space(write(tmp_path, FILE))
    drawn = sample(space, 50, seed=3)
    assert drawn == sample(space, 50, seed=3)
    assert drawn != sample(space, 50, seed=4)
    for setting in drawn:
        assert setting["hidden_size"] in range(32, 257, 32)
        assert isinstance(setting["hidden_size"], int)
        assert 0 <= setting["dropout_prob"] <= 0.5
        assert math.exp(-11.5) <= setting["weight_decay"] <= math.exp(-6.9)
    assert len(sample(space[:2], 50, seed=3)) == 4  # there are no more
    assert Parameter("x", "quniform", (0.0, 1.0, 0.25)).settle(0.6) == 0.5
    assert space[-1].ends() == pytest.approx([math.exp(-11.5), math.exp(-6.9)], rel=1e-2)
    assert space[2].ends() == pytest.approx([0.0, 0.5], abs=1e-3)


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("mlp_hidden_size choice ['[32, 16]','[64]']", ([32, 16], [64])),
        ("mlp_hidden_size choice ['[32,16]', [64, 8]]", ([32, 16], [64, 8])),
        ("n_layers choice ['1','2']", (1, 2)),
        ("eval_args choice [\"{'order': 'TO'}\"]", ({"order": "TO"},)),
        ("learner choice ['adam', 'sgd']", ("adam", "sgd")),
    ],
)
def test_values_in_quotes_are_what_recbole_reads_them_as(
    line: str, values: tuple, tmp_path: Path
) -> None:
    assert read_space(write(tmp_path, line + "\n"))[0].values == values


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("learning_rate choice __import__('os').system('touch x')", "a list of plain values"),
        ("learning_rate choice [open('x', 'w')]", "a list of plain values"),
        ("net choice [\"__import__('os').system('touch x')\"]", "letters, digits and"),
        ("layers choice [['a', \"f('x')\"]]", "letters, digits and"),
        ("layers choice ['1/0']", "a word begins with a letter"),
        ("layers choice [{1,2}]", "a value is a number, a word, a list or a dictionary"),
        ("learning_rate choice 0.1", "a list of at least one value; got '0.1'"),
        ("learning_rate choice []", "a list of at least one value"),
        ("learning_rate between 0,1", "a kind out of choice, uniform, quniform, loguniform"),
        ("learning_rate", "a line is `name kind values`"),
        ("learning_rate uniform 0.1", "uniform takes 2 numbers, low before high; got '0.1'"),
        ("learning_rate uniform 1,0", "low before high"),
        ("learning_rate uniform a,1", "'a' is no number"),
        ("learning_rate uniform 0,inf", "'inf' is no finite number"),
        ("hidden_size quniform 1,5", "quniform takes 3 numbers"),
        ("hidden_size quniform 1,5,0", "the step of quniform must be above 0"),
        ("net choice ['mlp']", "net is given twice"),
    ],
)
def test_a_line_that_cannot_be_read_is_named_with_its_number(
    line: str, message: str, tmp_path: Path
) -> None:
    path = write(tmp_path, f"net choice ['mlp']\n\n{line}\n")
    with pytest.raises(ValueError, match=r"hyper.test, line 3: ") as error:
        read_space(path)
    assert message in str(error.value)
    assert not list(Path().glob("x"))


def test_an_empty_or_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="names no hyper-parameter"):
        read_space(write(tmp_path, "# nothing\n"))
    with pytest.raises(FileNotFoundError, match="there is no params file"):
        read_space(tmp_path / "nowhere")
