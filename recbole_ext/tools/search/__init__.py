"""Hyper-parameter search: spaces, trials, and the two tools that run them."""
