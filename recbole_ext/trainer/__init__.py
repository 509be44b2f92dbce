"""Trainers on top of RecBole's, and how they differentiate."""
