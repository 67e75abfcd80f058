"""Limits on the size and the duration of requests."""

MEGABYTE = 1_000_000
MAX_MEGABYTES = 20  # of a request's images together
MAX_CONTENT_LENGTH = MAX_MEGABYTES * MEGABYTE + 100_000  # bytes; 100,000 for the form itself
MAX_IMAGES = 50  # in one request
API_FIELD = "image"  # the form field of the API
EXPLAIN = "explain"  # the query parameter that asks for the occlusion map
RETRY_AFTER = 2  # seconds
BATCH_LIMIT = 20  # seconds; images of a request not started by then are not processed

HEADER_LIMIT = 10  # seconds for all of a request's headers
# A body must deliver `LEAST_SENT` bytes every `SILENCE` seconds, about 3 kB per second.
SILENCE = 10  # seconds
LEAST_SENT = 32_768  # bytes
BODY_LIMIT = 120  # seconds for a whole body; the page also gives up then
# Memory for the bodies of all requests together: those of up to `SMALL_BODY`, and larger ones.
SMALL_BODY = MEGABYTE
SMALL_BODIES = 12 * MEGABYTE
LARGE_BODIES = 24 * MEGABYTE
SENDING_LIMIT = 60  # seconds for a client to receive an answer
