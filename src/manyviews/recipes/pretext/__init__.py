"""Recipes of the pretext tasks."""
