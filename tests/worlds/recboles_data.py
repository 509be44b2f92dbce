"""RecBole's own reading and loops, for the comparison with what replaces them."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import recbole.data.dataloader.abstract_dataloader as loaders
import recbole.data.dataset.dataset as datasets
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import init_seed

from recbole_ext.seams import faster_data
from recbole_ext.seams.todays_packages import COLUMNS_ARE_COPIES, filled_sequences, substitute


@contextlib.contextmanager
def recboles_own() -> Iterator[None]:
    """Take out what makes RecBole's data faster."""
    with pytest.MonkeyPatch.context() as patch:
        own: Any = pd
        if COLUMNS_ARE_COPIES:
            own = substitute(pd, read_csv=filled_sequences(pd.read_csv))
        patch.setattr(datasets, "pd", own)
        patch.setattr(loaders, "list", list)
        for module in faster_data.COUNTING:
            patch.setattr(module, "Counter", Counter)
        for owner, name, _ in faster_data.METHODS:
            patch.setattr(owner, name, owner.__dict__[name].__wrapped__)
        yield


def content_of(settings: dict[str, Any], model: str = "BPR") -> dict[str, Any]:
    """All that a data set, its parts and its loaders hold, or the error that it ends in."""
    config = Config(model, config_dict={"state": "ERROR", "load_col": None, **settings})
    init_seed(3, True)
    try:
        dataset = create_dataset(config)
        text = str(dataset)
        data = data_preparation(config, dataset)
    except (ValueError, NotImplementedError) as error:
        return {"error": f"{type(error).__name__}: {error}"}
    found: dict[str, Any] = {"text": text, "random": torch.get_rng_state()}
    for name in ("type", "source", "seqlen", "bucketnum"):
        found[name] = {field: str(v) for field, v in getattr(dataset, f"field2{name}").items()}
    found["tokens"] = {f: (t.dtype.kind, t.tolist()) for f, t in dataset.field2id_token.items()}
    found["ids"] = dataset.field2token_id
    found["types"] = {f: {*map(type, ids)} for f, ids in dataset.field2token_id.items()}
    found["weights"] = dataset._preloaded_weight
    for name in dataset.feat_name_list:
        found[name] = dict(getattr(dataset, name).interaction)
    for name, loader in zip(("train", "valid", "test"), data, strict=True):
        single = getattr(loader, "general_dataloader", loader)  # of one with a graph
        found[name] = dict(single._dataset.inter_feat.interaction)
        sampler = single._sampler
        if hasattr(sampler, "phase") and not config["repeatable"]:
            found[f"{name} used"] = [list(map(int, items)) for items in sampler.used_ids]
        found[f"{name} batches"] = [_plain(batch) for batch in single]
    found["drawn"] = (np.random.random(), torch.rand(1))
    return found


def _plain(batch: Any) -> Any:
    if isinstance(batch, tuple):
        return tuple(map(_plain, batch))
    return dict(batch.interaction) if hasattr(batch, "interaction") else batch
