"""The settings of a run: the chosen ones, their meaning, and a yaml that repeats the run."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from recbole.config import Config

from recbole_ext.settings.yaml_files import PROPERTIES, recbole_folder
from recbole_ext.tools.report.evaluated_run import EvaluatedRun
from recbole_ext.tools.report.page import Block, Code, Folded, Note, Section, Table

# These settings name a run or say how it is watched; they are not shown as chosen.
_ASIDE = frozenset(["model", "dataset", "show_progress", "state", "resume_file"])
_EXPLAINED = re.compile(r"^(\w+):.*?# \((\w+)\)\s*(.*)$", re.MULTILINE)


def settings(run: EvaluatedRun) -> Section:
    """The chosen settings, all settings in a folded table, and the yaml to copy."""
    blocks: list[Block] = []
    chosen = changed(run.config)
    if chosen:
        meanings = _meanings(run.config["model"])
        rows = [{**row, "meaning": meanings.get(row["setting"], "")} for row in chosen]
        blocks.append(Table.of([{k: str(v) for k, v in row.items()} for row in rows]))
    else:
        blocks.append(Note("Every setting has the model's default."))
    return Section(
        "settings",
        "Settings",
        "What this run was told that differs from the defaults; all else is folded below it.",
        [*blocks, _all(run.config), _repeat(run.config)],
    )


def changed(config: Config) -> list[dict[str, Any]]:
    """Settings that differ from the defaults, given by the run or by its preset.

    Returns:
        A row for each setting, with ``setting``, ``value``, ``default`` and ``set by``.
    """
    internal, external = config.internal_config_dict, config.external_config_dict
    preset = _preset(config)
    own = _defaults(config) if preset else {}  # without what the preset changed
    rows = [
        {"setting": k, "value": v, "default": own.get(k, internal.get(k)), "set by": "the run"}
        for k, v in external.items()
        if k not in _ASIDE and (k not in internal or v != internal[k])
    ]
    by = f"preset {external.get('preset')}"
    return rows + [
        {"setting": key, "value": value, "default": own.get(key), "set by": by}
        for key, value in preset.items()
        if key not in external and own.get(key) != value
    ]


def whole(config: Config) -> dict[str, Any]:
    """All settings in the form that ``--config_files`` of ``recbole-ext run`` takes."""
    given = {**config.internal_config_dict, **config.external_config_dict}
    plain = {key: value for key, value in given.items() if _is_plain(value)}
    named = {"model": config["model"], "dataset": config["dataset"]}
    return {**named, **{k: v for k, v in sorted(plain.items()) if k not in (*named, "resume_file")}}


def _all(config: Config) -> Folded:
    meanings = _meanings(config["model"])
    rows = [
        {"setting": key, "value": str(value), "meaning": meanings.get(key, "")}
        for key, value in whole(config).items()
    ]
    return Folded(f"All {len(rows)} settings", [Table.of(rows)])


def _repeat(config: Config) -> Folded:
    text = yaml.safe_dump(whole(config), sort_keys=False, allow_unicode=True)
    options = f"--model={config['model']} --dataset={config['dataset']} --config_files=run.yaml"
    how = Note(f"Save it as run.yaml and repeat the run with: recbole-ext run {options}")
    return Folded("The whole yaml, to copy", [how, Code(text)])


def _is_plain(value: Any) -> bool:
    """Whether yaml reads a value as it wrote it; other objects in a config are not settings."""
    try:
        return yaml.safe_load(yaml.safe_dump(value)) == value
    except yaml.YAMLError:
        return False


def _files(model: str) -> list[Path]:
    """The yaml files with a model's defaults, the most general first.

    LambdaOptMF's file is always read: any model may learn λ, and it explains ``frequency_groups``.
    """
    ours, recbole = PROPERTIES / "model", recbole_folder() / "properties"
    files = [ours / "LambdaOptMF.yaml", recbole / "overall.yaml"]
    files += [recbole / "model" / f"{model}.yaml", ours / f"{model}.yaml"]
    return [path for path in files if path.is_file()]


def _preset(config: Config) -> dict[str, Any]:
    name = config.external_config_dict.get("preset")
    known = {path.stem: path for path in (PROPERTIES / "preset").glob("*.yaml")}
    owners = (config["model"], "LambdaOptMF")
    found = [known[f"{owner}-{name}"] for owner in owners if f"{owner}-{name}" in known]
    return _read(found[0], config) if found else {}


def _defaults(config: Config) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for path in _files(config["model"]):
        values |= _read(path, config)
    return values


def _read(path: Path, config: Config) -> dict[str, Any]:
    loader = config._build_yaml_loader()  # reads 1e-3 as a number
    return yaml.load(path.read_text(encoding="utf-8"), Loader=loader) or {}


@cache
def _meanings(model: str) -> dict[str, str]:
    """The meaning of each setting, from the comments in the yaml files."""
    texts = [path.read_text(encoding="utf-8") for path in _files(model)]
    said = {name: meaning for text in texts for name, _, meaning in _EXPLAINED.findall(text)}
    return {"preset": "Settings of this package by name; they follow below.", **said}
