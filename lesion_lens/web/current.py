"""Storing and finding the app's classifier, in one place."""

from flask import Flask, current_app

from lesion_lens.model.classifier import Classifier


def set_classifier(app: Flask, classifier: Classifier) -> None:
    """Give the app its model."""
    app.extensions["classifier"] = classifier


def get_classifier(app: Flask | None = None) -> Classifier:
    """Return an app's model; by default, that of the app that answers the request."""
    classifier: Classifier = (current_app if app is None else app).extensions["classifier"]
    return classifier
