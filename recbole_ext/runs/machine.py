"""What a run ran on, for whoever reads its figures later."""

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
    """``cpu`` and ``gpu`` by name, ``cpus``, ``threads`` of torch, ``python`` and ``versions``."""
    return {**_lasting(), "threads": torch.get_num_threads()}


@cache  # asked for with each checkpoint
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
