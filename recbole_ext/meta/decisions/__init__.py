"""The decision networks, which adapt to a user, and the features of users and items they see."""
