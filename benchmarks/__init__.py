"""Benchmarks of serving, classifying folders and training: `python -m benchmarks.NAME`."""
