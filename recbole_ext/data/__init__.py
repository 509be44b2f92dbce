"""Datasets and samplers on top of RecBole's."""
