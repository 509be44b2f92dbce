"""LambdaOptMF keeps the contract of all models, whichever way its λ is found."""

from __future__ import annotations

from tests.contracts.models import ModelContract
from tests.worlds.helpers import LAMBDA


class TestDefault(ModelContract):
    """One λ for all users, through the whole training."""

    model = "LambdaOptMF"
    validates = True
    known = {"ndcg@10": 0.4674}


class TestOneStep(ModelContract):
    """A λ for each user, item and dimension, one step ahead."""

    model = "LambdaOptMF"
    settings = LAMBDA
    known = {"ndcg@10": 0.4843}


class TestFixed(ModelContract):
    """A λ that is given."""

    model = "LambdaOptMF"
    settings = {"regularizer": "fixed", "reg_weight": 0.01}
    known = {"ndcg@10": 0.4739}
