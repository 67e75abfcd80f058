"""Code shared by test files, by subject; test files do not import each other."""
