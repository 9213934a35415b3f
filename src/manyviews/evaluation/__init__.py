"""Evaluation with labels. The only room that may read one."""
