"""An image in, everything that may be said of it out. Knows no Flask and no CSV of a data set."""
