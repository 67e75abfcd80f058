"""The start: the model is loaded once, and a bad file stops the start with a clear message."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest

import skin_cancer_detection as scd
from app import create_app
from lesion_lens import ROOT
from lesion_lens.model.engines import load_engine
from lesion_lens.model.errors import ModelFileError
from lesion_lens.model.litert_files import append_attributes
from lesion_lens.model.model_path import remedy_of
from tests.support.drawings import draw_lesion, encode
from tests.support.models import (
    FACTS,
    KERAS,
    LITERT,
    MODEL,
    change_layer,
    copy_model,
    shares_of,
    write_model,
)
from tests.support.pages import app_of, client_of, page_of, text_of, upload
from tests.support.waiting import wait_for


def test_importing_the_app_imports_no_tensorflow():
    script = "import sys, app; assert not {'tensorflow', 'keras'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_readyz_is_503_until_the_model_is_loaded(monkeypatch):
    may_load, real = threading.Event(), load_engine

    def slow(path):
        may_load.wait()
        return real(path)

    monkeypatch.setattr("lesion_lens.model.classifier.load_engine", slow)
    client = create_app().test_client()
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 503
    may_load.set()
    wait_for(lambda: client.get("/readyz").status_code == 200)


def test_the_model_is_loaded_once_however_many_ask(monkeypatch):
    loads, real = [], load_engine
    monkeypatch.setattr(
        "lesion_lens.model.classifier.load_engine", lambda path: loads.append(path) or real(path)
    )
    app = create_app()
    statuses = []
    threads = [
        threading.Thread(
            target=lambda: statuses.append(
                upload(app.test_client(), encode(draw_lesion())).status_code
            )
        )
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 8
    assert len(loads) == 1


def test_a_model_file_that_breaks_after_the_start_is_a_503(tmp_path):
    path = copy_model(tmp_path, {})
    client = client_of(path)
    path.unlink()
    response = upload(client, encode(draw_lesion()))
    assert response.status_code == 503
    assert text_of(page_of(response), "#error").startswith("The model cannot be used at the moment")


# --- A start that must fail ------------------------------------------------------------------


PYTHON, FLASK = ["app.py"], ["-m", "flask", "--app", "app", "run"]
GUNICORN = pytest.param(
    ["-m", "gunicorn", "app:app"],
    marks=pytest.mark.skipif(sys.platform == "win32", reason="gunicorn does not run on Windows"),
    id="gunicorn",
)


def start(command, **environment):
    """Run a server that cannot start; return its exit code and its output."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=os.environ | {"PORT": "0"} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "command", [pytest.param(PYTHON, id="python"), pytest.param(FLASK, id="flask"), GUNICORN]
)
def test_a_bad_model_file_stops_the_start_with_its_sentence(command, tmp_path):
    path = tmp_path / f"none{MODEL.suffix}"
    code, said = start(command, MODEL_PATH=str(path))
    assert code == 3
    assert f"{path} is missing: name another file, or {remedy_of(path)}" in said


@pytest.mark.parametrize("command", [GUNICORN])  # `python app.py` treats both engines the same
def test_a_file_with_another_network_stops_the_start(command, tmp_path):
    path = shutil.copy(KERAS, tmp_path / "m.h5")
    change_layer(path, -1, activation="linear")
    code, said = start(command, MODEL_PATH=str(path))
    assert code == 3
    assert f"{path} has a different activation in layer 22, Dense: run `python train.py --" in said


@pytest.mark.parametrize("command", [pytest.param(PYTHON, id="python"), GUNICORN])
def test_a_file_that_only_litert_finds_faulty_stops_the_start(command, tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(b"no network")
    append_attributes(path, {"class_order": ",".join(scd.CODES)})
    code, said = start(command, MODEL_PATH=str(path))
    assert code == 3
    assert f"{path} cannot be run: run `python train.py --export {path}`" in said


@pytest.mark.parametrize("source", [KERAS, LITERT], ids=["Keras", "LiteRT"])
@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("decision_facts", {"decision_facts": "{}"}),
        ("decision_facts", {"decision_facts": "not JSON"}),
        ("decision_facts", {"decision_facts": 3}),
        ("decision_facts", {"decision_facts": "[" * 10_000}),
        ("likeness", {"likeness_covariance": -np.eye(7)}),
    ],
)
def test_spoiled_attributes_are_refused(source, name, attributes, tmp_path):
    path = copy_model(tmp_path, attributes, source)
    with pytest.raises(ModelFileError) as caught:
        app_of(path)
    assert str(caught.value).startswith(f"{path} holds damaged {name} attributes (")
    assert str(caught.value).endswith(f"): {remedy_of(path)}")


def test_a_number_beyond_floats_is_refused(tmp_path):
    path = copy_model(tmp_path, {"likeness_threshold": 10**400}, LITERT)  # HDF5 cannot store it
    with pytest.raises(ModelFileError, match="holds damaged likeness attributes"):
        app_of(path)


def test_half_of_the_attributes_are_no_attributes(tmp_path):
    path = write_model(tmp_path, shares_of(), attributes={"likeness_threshold": 1.0})
    with pytest.raises(ModelFileError, match="holds damaged likeness attributes"):
        app_of(path)


def test_spoiled_attributes_stop_the_start(tmp_path):
    path = write_model(tmp_path, shares_of(), attributes={"decision_facts": "{}"})
    code, said = start(PYTHON, MODEL_PATH=str(path))
    assert code == 3
    fault = "the decision facts lack eight_view_temperature"
    assert f"{path} holds damaged decision_facts attributes ({fault}): {remedy_of(path)}" in said


def test_facts_for_fewer_classes_are_refused(tmp_path):
    facts = FACTS.to_dict() | {"class_shares": [1 / 6] * 6}
    path = write_model(tmp_path, shares_of(), attributes={"decision_facts": json.dumps(facts)})
    with pytest.raises(ModelFileError, match=r"\(the decision fact class_shares has 6 numbers"):
        app_of(path)


@pytest.mark.parametrize("command", [pytest.param(PYTHON, id="python"), GUNICORN])
@pytest.mark.parametrize("setting", ["PROXY_HOPS", "RATE_LIMIT", "CORS_ORIGINS", "COMPRESSION"])
def test_a_setting_that_cannot_be_followed_stops_the_start(command, setting):
    code, said = start(command, MODEL_PATH=str(LITERT), **{setting: "many"})
    assert code == 3
    assert f"{setting} " in said
    assert "'many'" in said


@pytest.mark.parametrize("command", [pytest.param(PYTHON, id="python"), GUNICORN])
@pytest.mark.parametrize("port", ["", "abc", "99999", "9" * 5000])
def test_an_invalid_port_is_named(command, port):
    code, said = start(command, MODEL_PATH=str(LITERT), PORT=port)
    assert code == 3
    assert f"PORT is '{port}'" in said


@pytest.mark.parametrize("setting", ["PROXY_HOPS", "METRICS_PORT"])
def test_a_number_too_long_for_python_stops_the_start(setting):
    code, said = start(PYTHON, MODEL_PATH=str(LITERT), **{setting: "9" * 5000})
    assert code == 3
    assert f"{setting} is '99" in said


def test_training_without_its_packages_says_which_to_install():
    hide = "import runpy, sys; sys.modules['pandas'] = None; sys.argv = ['train.py']; "
    code, said = start(["-c", hide + "runpy.run_path('train.py', run_name='__main__')"])
    assert (code, said) == (
        2,
        "train.py needs pandas, which is not installed: pip install -r requirements.txt\n",
    )


def test_a_metrics_port_that_is_taken_stops_python_s_start_too():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        code, said = start(PYTHON, MODEL_PATH=str(LITERT), METRICS_PORT=port)
    assert code == 3
    assert f"METRICS_PORT cannot be bound: free port {port} of 127.0.0.1" in said
