"""Where things are that tests read."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ML_1M = ROOT.parent / "shared" / "data" / "ml-1m"
