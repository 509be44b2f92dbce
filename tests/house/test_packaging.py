"""What is installed is what is developed: the wheel, by way of the sdist, runs elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.worlds.places import ROOT


def python(*arguments: str, cwd: Path, path: Path | None = None) -> str:
    environment = {**os.environ, "PYTHONPATH": str(path)} if path else None
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_package_is_found(tmp_path: Path) -> None:
    python("setup.py", "-q", "egg_info", "--egg-base", str(tmp_path), cwd=ROOT)
    (sources,) = tmp_path.glob("*.egg-info/SOURCES.txt")
    listed = sources.read_text().splitlines()
    wanted = [*(ROOT / "recbole_ext").rglob("*.py"), *(ROOT / "properties").rglob("*.yaml")]
    assert {str(file.relative_to(ROOT)) for file in wanted} <= set(listed)


@pytest.mark.parametrize("stack", ["", "-recbole"])
def test_the_constraints_name_every_requirement(stack: str) -> None:
    lines = (ROOT / f"constraints{stack}.txt").read_text().splitlines()
    pinned = {line.split("==")[0].lower() for line in lines if "==" in line} | {"recbole"}
    required = re.findall(r"^    ([A-Za-z][\w-]*)", (ROOT / "setup.cfg").read_text(), re.M)
    others = {"recbole_ext", "recbole-ext", "development", "intended", "programming"}
    assert {name.lower() for name in required} - others <= pinned


@pytest.mark.slow
def test_the_wheel_runs_a_model_elsewhere(tmp_path: Path) -> None:
    built, installed, elsewhere = (tmp_path / name for name in ("dist", "site", "elsewhere"))
    elsewhere.mkdir()
    python("-m", "build", "--no-isolation", "--outdir", str(built), ".", cwd=ROOT)
    wheel, sdist = next(built.glob("*.whl")), next(built.glob("*.tar.gz"))
    inside = zipfile.ZipFile(wheel).namelist()
    with tarfile.open(sdist) as archive:
        packed = archive.getnames()
    for yaml in ("model/LambdaOptMF.yaml", "preset/LambdaOptMF-paper.yaml"):
        assert f"recbole_ext/properties/{yaml}" in inside
        assert any(name.endswith(f"properties/{yaml}") for name in packed)
    for file in ("templates/page.html", "static/page.js", "static/page.css", "static/icon.svg"):
        assert f"recbole_ext/tools/demo/{file}" in inside
        assert any(name.endswith(f"demo/{file}") for name in packed)
    assert {"recbole_ext/tools/report/page.html", "recbole_ext/tools/report/style.css"} <= set(
        inside
    )

    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--target", str(installed)]
    python(*install, str(wheel), cwd=elsewhere)
    code = (
        "import recbole_ext, recbole_ext.settings.yaml_files as p\n"
        "r = recbole_ext.run_recbole('LambdaOptMF', 'ml-100k',"
        " config_dict={'epochs': 1, 'loss': 'bpr', 'show_progress': False, 'state': 'ERROR'})\n"
        "print(p.PROPERTIES, r['checkpoint'])"
    )
    output = python("-c", code, cwd=elsewhere, path=installed)
    assert str(installed / "recbole_ext" / "properties") in output


def test_the_checkout_is_found_from_elsewhere(tmp_path: Path) -> None:
    """By the editable install that ``make`` sets up."""
    code = "import recbole_ext.settings.yaml_files as p; print(p.PROPERTIES)"
    assert python("-c", code, cwd=tmp_path).strip() == str(ROOT / "properties")
