"""How cold-start tasks are judged: metrics by scenario, and simple baselines beside them."""
