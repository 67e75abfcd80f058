"""What strangers may send, sent on purpose: `python -m attacks` measures how the app stands it."""
