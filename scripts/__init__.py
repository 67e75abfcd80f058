"""What is done now and then, each by `python -m scripts.NAME`."""
