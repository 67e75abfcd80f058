"""Attacks on the app: `python -m attacks` measures how it handles hostile files and requests."""
