"""The classifier of the app: the one place that knows where Flask keeps it."""

from flask import Flask, current_app

from lesion_lens.model.classifier import Classifier


def set_classifier(app: Flask, classifier: Classifier) -> None:
    """Give the app its model."""
    app.extensions["classifier"] = classifier


def get_classifier(app: Flask | None = None) -> Classifier:
    """The model of an app, by default of the one that answers the request."""
    classifier: Classifier = (current_app if app is None else app).extensions["classifier"]
    return classifier
