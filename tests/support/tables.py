"""Reading the command line's tables, and the table of results in a browser."""

import csv


def csv_rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def wait_for_table(page):
    page.locator("#batch-summary:not(:empty)").wait_for()


def names_in(page):
    return page.locator(".results tbody .file").filter(visible=True).all_inner_texts()


def csv_of(page):
    with page.expect_download() as download:
        page.get_by_role("link", name="Save as CSV").click()
    with open(download.value.path(), newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))
