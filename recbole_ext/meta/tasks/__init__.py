"""What a meta-learner trains on: one user's ratings, split into support and query."""
