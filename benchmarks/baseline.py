"""A simple server for the same model: it calls `predict` for each upload, in one sync worker.

It has none of the app's optimisations. The benchmark's ratios refer to it.
"""

from operator import itemgetter

import keras
import numpy as np
from flask import Flask, render_template_string, request
from PIL import Image

from lesion_lens.model.files import DEFAULT_MODEL_PATH
from skin_cancer_detection import CLASSES, SIDE

FORM = """<!doctype html><title>Skin cancer classification</title>
<form action="/showresult" method="post" enctype="multipart/form-data">
<input type="file" name="pic"><button>Classify</button></form>"""

RESULT = """<!doctype html><title>Result</title>
<h1>{{ ranking[0][1].name }}</h1>
<table>{% for probability, kind in ranking %}
<tr><td>{{ kind.name }}</td><td>{{ "%.1f" | format(100 * probability) }} %</td></tr>
{% endfor %}</table>"""

app = Flask(__name__)
model = keras.models.load_model(DEFAULT_MODEL_PATH, compile=False)


@app.get("/")
def index():
    """Show the upload form."""
    return render_template_string(FORM)


@app.post("/showresult")
def show_result():
    """Classify the image in the form's field `pic`."""
    image = Image.open(request.files["pic"]).resize((SIDE, SIDE))
    probabilities = model.predict(np.asarray(image)[np.newaxis])[0]
    ranking = sorted(zip(probabilities.tolist(), CLASSES, strict=True), key=itemgetter(0))[::-1]
    return render_template_string(RESULT, ranking=ranking)
