"""The API, driven by schemathesis from its own OpenAPI document.

schemathesis sends valid and invalid requests, first at the bounds and then at random, and checks
every answer by the document: status, content type, headers and schema.
"""

import pytest

from tests.support.drawings import draw_lesion, encode
from tests.support.skipping import require

SOUND = [encode(draw_lesion((60, 45)), name) for name in ("PNG", "JPEG", "WEBP", "BMP", "GIF")]
SPOILED = [data[: len(data) // 2] for data in SOUND]


@pytest.fixture
def drive(app):
    """A function that runs all checks and phases.

    It takes the files to send and the statuses that valid requests may get. It returns the
    disagreements and the statuses of all answers.
    """
    schemathesis = require("schemathesis")
    from schemathesis.engine import events, from_schema

    def uncompressed(environment, start_response):
        """The app without gzip, for clients that unpack nothing, like schemathesis's for WSGI."""
        return app(environment | {"HTTP_ACCEPT_ENCODING": "identity"}, start_response)

    def run(files, accepted):
        schemathesis.openapi.format("binary", files)
        settings = {
            "headers": {
                "Accept-Encoding": "identity"
            },  # it asks the app for gzip but does not unpack it
            "generation": {"deterministic": True, "max-examples": 50},
            "checks": {"positive_data_acceptance": {"expected-statuses": accepted}},
        }
        document = schemathesis.openapi.from_wsgi(
            "/api/v1/openapi.json", uncompressed, config=schemathesis.Config.from_dict(settings)
        )
        disagreements, statuses = [], set()
        for event in from_schema(document).execute():
            if isinstance(event, events.NonFatalError | events.FatalError):
                disagreements.append(str(event))
            if not isinstance(event, events.ScenarioFinished):
                continue
            checks = [check for checks in event.recorder.checks.values() for check in checks]
            failures = [check.failure_info.failure for check in checks if check.failure_info]
            disagreements += [f"{failure.title}: {failure.message}" for failure in failures]
            answers = event.recorder.interactions.values()
            statuses |= {answer.response.status_code for answer in answers}
        return disagreements, statuses

    return run


def test_sound_images_are_classified_and_wrong_forms_refused(drive):
    strategies = require("hypothesis.strategies")
    disagreements, statuses = drive(strategies.sampled_from(SOUND), accepted=["200"])
    assert disagreements == []
    assert {200, 400, 405, 415} <= statuses


def test_whatever_file_is_sent_the_answer_is_one_of_the_document(drive):
    strategies = require("hypothesis.strategies")
    files = strategies.sampled_from(SOUND + SPOILED) | strategies.binary()
    disagreements, statuses = drive(files, accepted=["200", "400", "415", "422"])
    assert disagreements == []
    assert {200, 400, 405, 415, 422} <= statuses


def test_the_document_is_an_openapi_document(app):
    document = require("schemathesis").openapi.from_wsgi("/api/v1/openapi.json", app)
    assert document.raw_schema["openapi"].startswith("3.1.")
    document.validate()
