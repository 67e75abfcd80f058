"""The language of the pages and the direction of its text, in one place.

A translation changes these two and the texts in templates/, in the messages of exceptions and in
the tables of skin_cancer_detection.py and lesion_lens/model.
"""

LANGUAGE = "en"  # a tag of BCP 47
DIRECTION = "ltr"  # "rtl" where text runs from right to left
