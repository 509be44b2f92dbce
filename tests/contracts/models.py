"""What every model of this package keeps; a model's own test is its class, settings and figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from recbole.config import Config
from recbole.data.interaction import Interaction
from recbole.utils import get_model

from recbole_ext import load_data_and_model, run_recbole
from recbole_ext.tools.hyperparameters import declared_by
from tests.worlds.helpers import QUICK, Run, same


class ModelContract:
    """Derive a class whose name begins with ``Test``, and set the attributes.

    Attributes:
        model: the model's name.
        settings: hyper-parameters of the model, beside those of the world.
        known: test metrics of two epochs in the world, as they were measured once.
        validates: whether training needs validation ratings, as λ does.
    """

    model: ClassVar[str]
    settings: ClassVar[dict[str, Any]] = {}
    known: ClassVar[dict[str, float]]
    validates: ClassVar[bool] = False

    @pytest.fixture
    def given(self, world: dict[str, Any]) -> dict[str, Any]:
        """All settings of a run in the world; a contract for another world overrides it."""
        return {**world, **self.settings}

    def test_a_run_gives_the_known_figure_and_the_same_again(self, given: dict[str, Any]) -> None:
        first, second = (run_recbole(self.model, None, None, {**QUICK, **given}) for _ in range(2))
        assert first["test_result"] == second["test_result"]
        assert first["best_valid_result"] == second["best_valid_result"]
        found = {name: first["test_result"][name] for name in self.known}
        assert found == pytest.approx(self.known, abs=5e-3)

    def test_the_checkpoint_has_the_same_test(self, given: dict[str, Any]) -> None:
        run = Run(self.model, **given).fit()
        run.trainer.evaluate(run.data[2], load_best_model=True)
        expected = run.trainer.evaluate(run.data[2], load_best_model=False)
        file = run.trainer.saved_model_file
        config, model, _, _, _, test = load_data_and_model(file)
        again = type(run.trainer)(config, model)
        assert dict(again.evaluate(test, load_best_model=False)) == dict(expected)

    def test_an_interrupted_run_ends_as_one_in_one_piece(
        self, given: dict[str, Any], tmp_path: Path
    ) -> None:
        settings = {**given, "eval_step": 0}
        whole = Run(self.model, **settings, epochs=4, checkpoint_dir=str(tmp_path / "a"))
        whole.fit(valid=self.validates)
        half = Run(self.model, **settings, epochs=2, checkpoint_dir=str(tmp_path / "b"))
        file = half.fit(valid=self.validates).trainer.saved_model_file
        rest = Run(self.model, **settings, epochs=4, resume_file=file).fit(valid=self.validates)
        assert same(whole.state(), rest.state())
        for name in ("lambda_network", "forward_gradient"):
            one, other = (getattr(run.trainer, name, None) for run in (whole, rest))
            if one is not None:
                assert same(one.state_dict(), other.state_dict())

    def test_all_items_are_scored_as_pairs_are(self, given: dict[str, Any]) -> None:
        run = Run(self.model, **given).fit()
        model = run.model.eval()
        users, items = torch.tensor([1, 2, 5]), torch.tensor([1, 3, 7])
        with torch.no_grad():
            table = model.full_sort_predict(Interaction({model.USER_ID: users}))
            pairs = model.predict(Interaction({model.USER_ID: users, model.ITEM_ID: items}))
        table = self.as_predicted(model, table.view(len(users), -1))
        torch.testing.assert_close(table[range(3), items], pairs, rtol=1e-4, atol=1e-4)

    def as_predicted(self, model: Any, scores: torch.Tensor) -> torch.Tensor:
        """Scores of ``full_sort_predict`` as ``predict`` tells them; ratings keep to a range."""
        return scores

    def test_a_value_of_a_wrong_kind_is_named_before_any_data_is_loaded(self) -> None:
        for name in declared_by(get_model(self.model)):
            given = {**self.settings, name: {"no": "such value"}}
            with pytest.raises(ValueError, match=name):
                Config(self.model, "no-such-data", config_dict={**QUICK, **given})
