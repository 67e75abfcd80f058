"""How fast it serves, classifies folders and trains: `python -m benchmarks.NAME`."""
