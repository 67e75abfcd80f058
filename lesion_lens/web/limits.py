"""What a request may bring, in numbers."""

MEGABYTE = 1_000_000
MAX_MEGABYTES = 20  # of a request's images
MAX_CONTENT_LENGTH = MAX_MEGABYTES * MEGABYTE + 100_000  # bytes; the form itself takes some
MAX_IMAGES = 50  # of one request
API_FIELD = "image"  # of the form that a program sends
SILENCE = 20  # seconds after which a client that sends nothing is given up
RETRY_AFTER = 2  # seconds
