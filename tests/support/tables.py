"""Reading the tables that the command line writes."""

import csv


def csv_rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
