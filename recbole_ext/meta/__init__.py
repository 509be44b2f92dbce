"""MeLU and MAMO: meta-learners that adapt to a new user from a handful of ratings."""
