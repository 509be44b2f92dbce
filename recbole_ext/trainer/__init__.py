"""Trainers on top of RecBole's, and their settings."""
