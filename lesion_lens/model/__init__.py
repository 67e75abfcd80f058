"""From an image to everything said about it. Uses neither Flask nor the CSV files of data sets."""
