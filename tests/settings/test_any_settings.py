"""Settings nobody thought of: each run either trains or says which of them is wrong."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from recbole_ext.settings.general import CHECKS
from recbole_ext.settings.yaml_files import PROPERTIES, recbole_folder
from tests.worlds.cold_world import noisy, write_cold_world
from tests.worlds.outcomes import HOW, outcome
from tests.worlds.rated_world import write_ratings

OURS = ("LambdaOptMF", "MeLU", "MAMO", "ResNetMF")
MODELS = (*OURS, "BPR", "LightGCN")
# Of the machine or of another run, not of training: processes, GPUs, folders, another service.
LEFT_OUT = {"worker", "gpu_id", "use_gpu", "data_path", "checkpoint_dir", "resume_file"} | {
    "log_wandb",
    "wandb_project",
}
NUMBERS = st.one_of(
    st.integers(-2, 70),
    st.floats(-2, 2),
    st.sampled_from([float("nan"), float("inf"), 1e-30, 1e30, 0.5, 1e-3]),
)
WORDS = st.one_of(
    st.text(max_size=5),
    st.sampled_from(
        ["user_id", "rating", "RMSE", "NDCG", "ndcg@10", "adam", "sgd", "None", "[1,2]"]
    ),
)
LEAVES = st.one_of(NUMBERS, WORDS, st.booleans(), st.none())
VALUES = st.one_of(
    LEAVES,
    st.lists(LEAVES, max_size=3),
    st.dictionaries(WORDS, LEAVES, max_size=2),
)


def words_of(model: str) -> dict[str, Any]:
    """A model's hyper-parameters and RecBole's general ones, with their defaults."""
    files = [
        recbole_folder() / "properties" / name for name in ("overall.yaml", "dataset/sample.yaml")
    ]
    own = PROPERTIES / "model" / f"{model}.yaml"
    if not own.is_file():
        own = recbole_folder() / "properties" / "model" / f"{model}.yaml"
    found: dict[str, Any] = {}
    for file in (*files, own):
        found |= yaml.safe_load(Path(file).read_text(encoding="utf-8")) or {}
    return {**dict.fromkeys(CHECKS), "preset": None, **found}


DEFAULTS = {model: words_of(model) for model in MODELS}
CHOICES = sorted(
    {value for words in DEFAULTS.values() for value in words.values() if isinstance(value, str)}
)


def near(default: Any) -> st.SearchStrategy[Any]:
    """Values of the default's kind."""
    if isinstance(default, bool):
        return st.booleans()
    if isinstance(default, int):
        return st.integers(0, 40)
    if isinstance(default, float):
        return st.one_of(st.floats(0, 1), st.just(10.0 * default))
    if isinstance(default, dict):
        names = st.sampled_from([*default, "mode", "valid", "inter"])
        return st.builds(lambda name, value: {**default, name: value}, names, VALUES)
    if isinstance(default, list):
        return st.lists(st.one_of(st.integers(1, 9), st.sampled_from(default or [1])), max_size=3)
    return st.one_of(st.just(default), st.sampled_from(CHOICES))


@st.composite
def some_settings(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """A model and one to three of its settings; a name may be misspelt."""
    model = draw(st.sampled_from(MODELS))
    names = draw(
        st.lists(st.sampled_from(sorted({*DEFAULTS[model]} - LEFT_OUT)), min_size=1, max_size=3)
    )
    chosen = {}
    for name in names:
        inside = near(DEFAULTS[model][name])
        value = draw(st.one_of(inside, inside, inside, st.just(DEFAULTS[model][name]), VALUES))
        if name == "epochs" and isinstance(value, int):
            value = min(value, 2)  # longer runs say no more
        chosen[name] = value
    if draw(st.integers(0, 19)) == 0:
        chosen[names[0][:-1]] = 1
    return model, chosen


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Data for each kind of model."""
    folder = tmp_path_factory.mktemp("worlds")
    rated = write_ratings(folder, lambda user, item: 1 + (user * 7 + item * 3) % 5)
    cold = write_cold_world(folder / "cold", noisy, users=66, items=36, share=0.6)
    return {model: cold if model in ("MeLU", "MAMO") else rated for model in MODELS}


def test_a_run_trains_or_says_what_is_wrong(worlds: dict[str, dict[str, Any]]) -> None:
    counts: Counter[str] = Counter()

    @given(some_settings())
    @example(("BPR", {"clip_grad_norm": 1.0}))
    @example(("LightGCN", {"n_layers": "two"}))
    @example(("ResNetMF", {"learning_rate": 1e30, "epochs": 2}))
    @settings(**HOW)
    def try_one(chosen: tuple[str, dict[str, Any]]) -> None:
        model, given_settings = chosen
        counts[outcome(model, {**worlds[model], **given_settings})] += 1

    try_one()
    drawn = settings.default.max_examples
    assert counts.total() >= 0.8 * drawn
    assert min(counts["trained"], counts["refused"]) >= drawn // 6
