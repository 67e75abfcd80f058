"""What test files share, by subject; no test file imports another."""
