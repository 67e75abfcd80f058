"""The API through Flask's test client: sending requests, and checking answers by its document."""

import copy
import io
import time

from tests.support.skipping import require

ADDRESS = "/api/v1/predictions"


def predict(client, *files, field="image", **options):
    """Send files, bytes or (bytes, name) each."""
    files = [file if isinstance(file, tuple) else (file, "lesion.png") for file in files]

    def post():
        form = {field: [(io.BytesIO(data), name) for data, name in files]}
        return client.post(ADDRESS, data=form, **options)

    return patiently(post)


def patiently(post):
    """Send a request; if the server is busy, wait for `Retry-After` and send it again."""
    for _ in range(3):
        response = post()
        if response.status_code != 503 or problem_in(response) != "busy":
            break
        time.sleep(int(response.headers["Retry-After"]))
    return response


def problem_in(response):
    assert response.content_type == "application/problem+json"
    assert response.json["status"] == response.status_code
    return response.json["type"].rpartition("#")[2]


def check(instance, document, name):
    """Validate a value with a schema of the document, which must name all its members."""
    jsonschema = require("jsonschema")
    components = copy.deepcopy(document["components"])
    for schema in components["schemas"].values():
        schema.update({"additionalProperties": False} if "properties" in schema else {})
    schema = {"$ref": f"#/components/schemas/{name}", "components": components}
    jsonschema.Draft202012Validator(schema).validate(instance)


def send(client, data, content_type="image/png", **headers):
    """Send an image as the body."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    options = {"data": data, "content_type": content_type, "headers": headers}
    return patiently(lambda: client.post(ADDRESS, **options))
