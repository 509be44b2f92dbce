"""Data sets nobody thought of: each is trained on, or the error says what is wrong with it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.worlds.outcomes import HOW, outcome

MODELS = ("LambdaOptMF", "MeLU", "MAMO", "ResNetMF", "BPR")
COLUMNS = ["user_id:token", "item_id:token", "rating:float", "timestamp:float"]
CELLS = ["", "abc", "nan", "inf", "-1", "1e400", "5 5", '"', "ü", "0", "[PAD]", "1,5", "\x00"]
ODD = st.one_of(st.sampled_from(CELLS), st.text(max_size=3))
HEADERS = ["rating:int", "rating", "user_id:float", "item_id:token_seq", ":", "user_id:token", ""]
SEPARATORS = [",", ";", "::", " ", "|"]


@st.composite
def tables(draw: st.DrawFn) -> list[list[str]]:
    """Interactions of a few users and items, header first, in atomic cells."""
    few = draw(st.integers(0, 5)) == 5
    users, items = (draw(st.integers(0, 9) if few else st.integers(12, 40)) for _ in range(2))
    every = draw(st.integers(1, 3))
    rows = [
        [f"u{u}", f"i{i}", str(1 + (u * 7 + i * 3) % 5), str((u + i * 11) % 97)]
        for u in range(users)
        for i in range(items)
        if (u * 5 + i) % every == 0
    ]
    return [COLUMNS[:], *rows]


@st.composite
def files(draw: st.DrawFn) -> dict[str, bytes]:
    """The files of a data set, with no fault, one or two."""
    table = draw(tables())
    separator = "\t"
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 1, 2]))):
        fault = draw(st.sampled_from(["cell", "header", "column", "twice", "short", "long", "sep"]))
        row = draw(st.integers(1, max(1, len(table) - 1))) % len(table)
        column = draw(st.integers(0, 3)) % len(table[0])
        if fault == "cell":
            table[row][column % len(table[row])] = draw(
                st.one_of(st.sampled_from(CELLS), st.text(max_size=3))
            )
        elif fault == "header":
            table[0][column] = draw(st.sampled_from(HEADERS))
        elif fault == "column" and len(table[0]) > 1:
            table = [[cell for at, cell in enumerate(line) if at != column] for line in table]
        elif fault == "twice":
            table += [line[:] for line in table[row : row + draw(st.integers(1, 3))]]
        elif fault == "short":
            table[row] = table[row][:-1]
        elif fault == "long":
            table[row] = [*table[row], "9"]
        elif fault == "sep":
            separator = draw(st.sampled_from(SEPARATORS))
    end = draw(st.sampled_from(["\n", "\n", "\r\n"]))
    text = end.join(separator.join(line) for line in table)
    encoding = draw(st.sampled_from(["utf-8"] * 20 + ["utf-16", "latin-1"]))
    found = {"inter": text.encode(encoding, errors="replace") + draw(st.sampled_from([b"\n", b""]))}
    for side in ("user", "item"):
        if draw(st.integers(0, 9)) < 9:
            found[side] = draw(features(side)).encode()
    return found


@st.composite
def features(draw: st.DrawFn, side: str) -> str:
    """A file of users or items: a token, several tokens and a number; some cells are odd."""
    header = [
        f"{side}_id:token",
        f"{side}_kind:token",
        f"{side}_words:token_seq",
        f"{side}_size:float",
    ]
    rows = []
    for at in range(draw(st.sampled_from([45, 45, 45, 45, 20, 1, 0]))):
        row = [f"{side[0]}{at}", str(at % 3), f"{at % 4} {at % 5}", str(at / 10)]
        if draw(st.integers(0, 99)) == 99:
            row[draw(st.integers(0, 3))] = draw(ODD)
        rows.append(row)
    if draw(st.integers(0, 19)) == 19:
        header[draw(st.integers(0, 3))] = draw(st.sampled_from(HEADERS))
    return "".join("\t".join(line) + "\n" for line in [header, *rows])


def settings_for(model: str, name: str, folder: Path) -> dict[str, Any]:
    found = {"dataset": name, "data_path": str(folder), "embedding_size": 4, "load_col": None}
    if model in ("MeLU", "MAMO"):
        found |= {"task_ratings": [6, 100], "query_size": 4, "cold_item_rule": "share"}
        found |= {"factor_size": 4, "factorized_start": 2, "mlp_hidden_size": [4]}
    return found


def test_data_is_trained_on_or_the_error_says_what_is_wrong(tmp_path: Path) -> None:
    counts: Counter[str] = Counter()

    @given(st.sampled_from(MODELS), files())
    @settings(**HOW)
    def try_one(model: str, content: dict[str, bytes]) -> None:
        name = f"set{counts.total()}"
        folder = tmp_path / f"{name}-{model}-{len(list(tmp_path.iterdir()))}"
        (folder / name).mkdir(parents=True)
        for suffix, text in content.items():
            (folder / name / f"{name}.{suffix}").write_bytes(text)
        counts[outcome(model, settings_for(model, name, folder))] += 1

    try_one()
    drawn = settings.default.max_examples
    assert counts.total() >= 0.6 * drawn
    assert min(counts["trained"], counts["refused"]) >= drawn // 8
