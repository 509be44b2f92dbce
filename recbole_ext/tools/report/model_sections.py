"""The sections for particular models: learnt λ, memories, evidence items."""

from __future__ import annotations

import zipfile
from typing import Any

import torch
from recbole.utils import FeatureType
from torch import Tensor

from recbole_ext.lambda_opt.lambda_network import PowerLaw, Strengths
from recbole_ext.lambda_opt.lambda_network.dump import dump_folder, read_counts, read_dump
from recbole_ext.meta.judging.attention import attention_by_group, slot_use
from recbole_ext.meta.judging.evidence import evidence_candidates
from recbole_ext.meta.mamo import MAMO
from recbole_ext.runs.frequency_groups import frequency_groups
from recbole_ext.tools.report import charts
from recbole_ext.tools.report.evaluated_run import EvaluatedRun
from recbole_ext.tools.report.page import Block, Note, Section, Table, cell

SIDES = ("user", "item")
EVIDENCE = 20
ALIKE = 0.005  # users attend alike if no slot's attention spreads more over them
MOST_VALUES = 80  # a field with more values has no heat map of attention
VALUES_ABREAST = 45  # the most values of fields side by side in one picture


def strengths(run: EvaluatedRun) -> Section | None:
    """The size, distribution and course of λ, for runs with a ``LambdaNetwork``."""
    state = run.checkpoint.get("modules", {}).get("lambda_network")
    if state is None:
        return None
    network: Strengths = run.trainer.lambda_network
    network.load_state_dict(state)
    found = {side: _rows(network, side) for side in SIDES if network.regularises(side)}
    learnt = "learnt in training" if run.trainer.settings.learns_lambda else "given, not learnt"
    blocks: list[Block] = [Table.of([_summary(*item) for item in found.items()])]
    if isinstance(network, PowerLaw):
        law = ", ".join(f"{name}: {value}" for name, value in network.summary().items())
        blocks.append(Note(f"{law}, where f is a row's number of ratings over the mean."))
    left_out = [f"{side}s" for side in SIDES if side not in found]
    if left_out:
        blocks.append(Note(f"The {' and '.join(left_out)} are not regularised."))
    blocks += [*_distribution(found), *_by_group(run, found), *_course(run)]
    return Section(
        "lambda",
        "Regularisation λ",
        f"How strongly embeddings are pulled towards 0, {learnt}: the larger the λ of a user or "
        "an item, the less its own ratings are fitted. By epoch, those with the fewest ratings are "
        "at the bottom, and the dotted line is the epoch of the checkpoint.",
        blocks,
    )


def memory(run: EvaluatedRun) -> Section | None:
    """The attention on MAMO's memory slots, and their content."""
    if not isinstance(run.model, MAMO):
        return None
    use = slot_use(run.model)
    slots = [{"slot": at + 1, **row} for at, row in enumerate(use)]
    caption = "“most” is the share of users who attend to the slot most; the last are norms"
    blocks: list[Block] = [Table.of(slots, caption)]
    groups, left_out = _groups(run)
    packs = _packs(groups)
    for at, pack in enumerate(packs):
        figure = charts.attention(pack, use if at == len(packs) - 1 else None)
        alt = f"Mean attention to each slot by {' and '.join(pack) or 'nobody'}"
        blocks.append(charts.picture(figure, alt))
    if max(row["spread"] for row in use) < ALIKE:
        blocks.insert(1, Note("All users attend alike: the memory does not tell them apart."))
    if left_out:
        blocks.append(Note(f"Not shown, with one value or too many: {', '.join(left_out)}."))
    return Section(
        "memory",
        "Attention and slots",
        "MAMO starts a new user from what its memory slots hold of users alike: a field whose "
        "groups attend differently matters to it, and a slot that nobody attends to is dead.",
        blocks,
    )


def evidence(run: EvaluatedRun) -> Section | None:
    """The items to ask a new user about, for meta-learners."""
    if not run.adapts:
        return None
    rows = evidence_candidates(run.model, run.dataset, EVIDENCE)
    return Section(
        "evidence",
        "Evidence items",
        "What to ask a new user about: items whose rating moves the model most (gradient), times "
        "how many know them (popularity), both divided by the largest.",
        [Table.of([_title_first(row) for row in rows])],
    )


def _rows(network: Strengths, side: str) -> Tensor:
    """λ of a side without RecBole's padding row, [1 or n_rows - 1, 1 or embedding_size]."""
    whole = network.whole(side).cpu()
    return whole[1:] if len(whole) > 1 else whole


def _summary(side: str, values: Tensor) -> dict[str, Any]:
    rows, columns = values.shape
    varies = [side] * (rows > 1) + ["dimension"] * (columns > 1)
    flat = values.double().flatten()
    numbers = {
        "mean": flat.mean(),
        "least": flat.min(),
        "median": torch.quantile(flat[:: max(1, len(flat) // 1_000_000)], 0.5),
        "most": flat.max(),
    }
    return {
        "λ of": f"{side}s",
        "varies by": " and ".join(varies) or "nothing: one for all",
        "how many": len(flat),
        **{name: cell(float(number), ".4g") for name, number in numbers.items()},
        "at 0, %": cell(100 * float((flat == 0).double().mean()), ".1f"),
    }


def _distribution(found: dict[str, Tensor]) -> list[Block]:
    many = {f"λ of {side}s": v.flatten().numpy() for side, v in found.items() if v.numel() > 1}
    if not many:
        return []
    figure = charts.histograms(many, ["how many λ"] * len(many), log=True)
    return [charts.picture(figure, f"Distribution of the {' and of the '.join(many)}")]


def _by_group(run: EvaluatedRun, found: dict[str, Tensor]) -> list[Block]:
    rows = []
    for side, counts in zip(SIDES, run.counts, strict=True):
        values = found.get(side)
        if values is None or len(values) == 1:
            continue
        bands = min(run.groups, len(values))
        group = frequency_groups(counts, bands)[1:]
        for band in range(bands):
            mine, ratings = group == band, counts[1:][group == band]
            rows.append(
                {
                    "side": side,
                    "training ratings": f"{ratings.min()}–{ratings.max()}",
                    "rows": int(mine.sum()),
                    "mean λ": cell(float(values[mine].mean()), ".4g"),
                }
            )
    return [Table.of(rows, "By frequency, rarest first")] if rows else []


def _course(run: EvaluatedRun) -> list[Block]:
    """The picture of λ by frequency and epoch, or a note if the run did not keep it."""
    folder = dump_folder(run.path)
    try:
        tables, counts = read_dump(folder), read_counts(folder)
    except FileNotFoundError:
        return [Note("λ by epoch was not kept: train with lambda_dump: True to see it here.")]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        return [Note(f"λ by epoch, in {folder.name}, cannot be read: {error}.")]
    epochs = len(next(iter(tables.values())))
    alt = f"λ by training ratings (rarest at the bottom) over {epochs} epochs"
    figure = charts.lambda_by_epoch(tables, counts, best=run.checkpoint["epoch"])
    return [charts.picture(figure, alt)]


def _groups(run: EvaluatedRun) -> tuple[dict[str, list[dict[str, Any]]], list[str]]:
    """Attention by each field of users with few values, and the names of the other fields."""
    shown, left_out = {}, []
    for field in run.dataset.user_feat.columns:
        if field == run.dataset.uid_field or run.dataset.field2type[field] != FeatureType.TOKEN:
            continue
        values = len(run.dataset.get_user_feature()[field][1:].unique())
        if 1 < values <= MOST_VALUES:
            shown[field] = attention_by_group(run.model, run.dataset, field)
        else:
            left_out.append(field)
    return shown, left_out


def _packs(groups: dict[str, list[Any]]) -> list[dict[str, list[Any]]]:
    """The fields of each picture, which has as many as can be read; long fields come first."""
    packs: list[dict[str, list[Any]]] = [{}]
    for field in sorted(groups, key=lambda name: -len(groups[name])):
        if packs[-1] and sum(map(len, packs[-1].values())) + len(groups[field]) > VALUES_ABREAST:
            packs.append({})
        packs[-1][field] = groups[field]
    return packs


def _title_first(row: dict[str, Any]) -> dict[str, Any]:
    return dict(sorted(row.items(), key=lambda item: "title" not in item[0]))
