"""Attention by group of users, and the use of MAMO's slots."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from recbole_ext.meta.judging.attention import attention_by_group, attention_of_users, slot_use
from tests.worlds.helpers import Run


def test_groups_are_means_of_their_users(cold_world: dict[str, Any]) -> None:
    run = Run("MAMO", **cold_world).fit()
    dataset = run.data[0]._dataset
    rows = attention_by_group(run.model, dataset, "job")
    assert [row["group"] for row in rows] == ["0", "1", "2"]
    assert sum(row["users"] for row in rows) == 80
    jobs = dataset.get_user_feature()["job"]
    mine = [u for u in range(1, 81) if dataset.id2token("job", int(jobs[u])) == "1"]
    with torch.no_grad():
        alone = torch.stack([run.model.attend(torch.tensor([user]))[0] for user in mine])
    torch.testing.assert_close(torch.tensor(rows[1]["attention"]), alone.mean(0))
    with pytest.raises(ValueError, match="field must be one of user_id, job; got 'age'"):
        attention_by_group(run.model, dataset, "age")


def test_a_slot_that_nobody_attends_to_is_seen_to_be_dead(cold_world: dict[str, Any]) -> None:
    model = Run("MAMO", **cold_world).fit().model
    with torch.no_grad():
        model.feature_memory.attention.weight.zero_()
    for row in slot_use(model):
        assert row["attention"] == pytest.approx(1 / 3)
        assert row["spread"] == pytest.approx(0, abs=1e-6)
    model.feature_memory.profiles[0] = model.decision.user_content(torch.tensor([5]))[0].detach()
    with torch.no_grad():
        model.feature_memory.attention.weight[0, 0] = 1e3  # user 5's cosine with slot 0 is 1
    assert attention_of_users(model)[4, 0].item() == pytest.approx(1.0)
    uses = slot_use(model)
    assert sum(row["most"] for row in uses) == pytest.approx(1.0)
    assert uses[0]["most"] > 0.2
    with torch.no_grad():  # slots 0 and 1 are opposites: one of them is like any user
        model.feature_memory.attention.weight.copy_(torch.diag(torch.tensor([1e3, 1e3, 0.0])))
        model.feature_memory.profiles[1] = -model.feature_memory.profiles[0]
    dead = slot_use(model)[2]
    assert dead["most"] == 0.0
    assert dead["attention"] < 0.01
    assert {"profile", "gradient", "preference"} <= set(uses[0])
    model = Run("MAMO", **cold_world, feature_memory=False).model
    assert "profile" not in slot_use(model)[0]
