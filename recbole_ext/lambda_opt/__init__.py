"""λOpt: the model LambdaOptMF, and a learnt λ for RecBole's own pairwise models."""
