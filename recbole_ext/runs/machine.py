"""A description of the machine that a run used, to be kept with the run's results."""

from __future__ import annotations

import os
import platform
import re
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("torch", "recbole", "numpy")


def machine() -> dict[str, Any]:
    """The names ``cpu`` and ``gpu``, ``cpus``, torch's ``threads``, ``python`` and ``versions``."""
    return {**_lasting(), "threads": torch.get_num_threads()}


@cache  # as every checkpoint asks for it
def _lasting() -> dict[str, Any]:
    cpu = "unknown"
    if Path("/proc/cpuinfo").exists():
        named = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
        cpu = named[1] if named else cpu
    return {
        "cpu": cpu,
        "cpus": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
    }
