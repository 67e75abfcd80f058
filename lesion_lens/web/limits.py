"""What a request may bring and how long it may take, in numbers."""

MEGABYTE = 1_000_000
MAX_MEGABYTES = 20  # of a request's images
MAX_CONTENT_LENGTH = MAX_MEGABYTES * MEGABYTE + 100_000  # bytes; the form itself takes some
MAX_IMAGES = 50  # of one request
API_FIELD = "image"  # of the form that a program sends
EXPLAIN = "explain"  # the parameter of an address that asks for the occlusion map
RETRY_AFTER = 2  # seconds
BATCH_LIMIT = 20  # seconds; images of a request that were not begun by then are not processed

HEADER_LIMIT = 10  # seconds for all of a request's header
# A body that brings less than the second in the first is given up: 3 kB a second.
SILENCE = 10  # seconds
LEAST_SENT = 32_768  # bytes
BODY_LIMIT = 120  # seconds for all of a body; the page gives up then too
# What the bodies of all requests may take together, small ones of up to `SMALL_BODY` and others.
SMALL_BODY = MEGABYTE
SMALL_BODIES = 12 * MEGABYTE
LARGE_BODIES = 24 * MEGABYTE
SENDING_LIMIT = 60  # seconds for a client to take an answer
