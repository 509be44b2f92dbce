"""What RecBole's evaluator does not tell: metrics by group."""
