"""Tables whose rows are spread over processes train as whole ones do, and are saved as such."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.processes.test_parity import assert_alike
from tests.worlds.several import SPREAD, all_trained, together, trained


@pytest.fixture(scope="module", params=[2, 3])
def of_spread(request: pytest.FixtureRequest, tmp_path_factory: Any) -> list[dict[str, Any]]:
    """The results of all cases, process by process."""
    folder = tmp_path_factory.mktemp("spread")
    return together(request.param, all_trained, str(folder), True)


@pytest.mark.parametrize("case", SPREAD)
def test_spread_rows_train_what_whole_tables_train(
    case: str, of_spread: list[dict[str, Any]], tmp_path: Path
) -> None:
    alone = trained(case, str(tmp_path), spread=True)
    assert alone["steps"] >= 20 or "sgd" in case or "through" in case or "law" in case
    for found in of_spread:
        assert found[case]["metrics"] == alone["metrics"]
    for part in ("model", "modules", "moments"):
        assert_alike(of_spread[0][case][part], alone[part], f"{case}: {part}")
