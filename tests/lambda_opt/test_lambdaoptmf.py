"""LambdaOptMF keeps the contract of all models, whichever way its λ is found."""

from __future__ import annotations

from tests.contracts.models import ModelContract
from tests.worlds.helpers import LAMBDA


class TestDefault(ModelContract):
    """The softmax, λ learnt as a power law, and a last fit at it."""

    model = "LambdaOptMF"
    settings = {"lambda_epochs": 2, "lambda_steps": 0, "eval_step": 1}
    validates = True
    known = {"ndcg@10": 0.3677}


class TestSoftmaxInOnePiece(ModelContract):
    """The softmax, with λ learnt while the model is trained, from half of the validation."""

    model = "LambdaOptMF"
    settings = {"lambda_epochs": 0, "lambda_source": "split", "lambda_warmup_steps": 0}
    validates = True
    known = {"ndcg@10": 0.3779}


class TestBPR(ModelContract):
    """One λ for all users, through the whole training."""

    model = "LambdaOptMF"
    settings = {"loss": "bpr"}
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
    settings = {"loss": "bpr", "regularizer": "fixed", "reg_weight": 0.01}
    known = {"ndcg@10": 0.4739}
