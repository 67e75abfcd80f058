"""The work alone, without a server: a loop that decodes, resizes and classifies."""

import io
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np
from PIL import Image

from lesion_lens.model.views import eight_views
from skin_cancer_detection import SIDE

WARM_UP = 5  # images before the measurement


def latencies(data, views, model_path, processes, seconds):
    """Classify one file repeatedly in several processes at once.

    Args:
        data: bytes of an image.
        views: 1, or 8 for `eight_views`.
        model_path: the .tflite file.
        processes: how many run in parallel.
        seconds: how long.

    Returns:
        list of float, the seconds for each image, from all processes.
    """
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, ProcessPoolExecutor(processes, context) as pool:
        begin = manager.Barrier(processes)
        work = (data, views, model_path, seconds, begin)
        loops = [pool.submit(_loop, *work) for _ in range(processes)]
        return [latency for loop in loops for latency in loop.result()]


def decode_seconds(data, times=25):
    """The shortest time in which Pillow decodes a file in full, as on an otherwise idle machine."""
    taken = []
    for _ in range(times):
        begin = time.perf_counter()
        Image.open(io.BytesIO(data)).load()
        taken.append(time.perf_counter() - begin)
    return min(taken)


def _loop(data, views, model_path, seconds, begin):
    classify = _classifier(views, model_path)
    for _ in range(WARM_UP):
        classify(data)
    begin.wait(timeout=60)
    taken, now = [], time.perf_counter()
    end = now + seconds
    while now < end:
        classify(data)
        before, now = now, time.perf_counter()
        taken.append(now - before)
    return taken


def _classifier(views, model_path):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(model_path), num_threads=1)
    place = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(place, (views, SIDE, SIDE, 3))
    interpreter.allocate_tensors()
    answer = interpreter.get_output_details()[0]["index"]

    def classify(data):
        image = Image.open(io.BytesIO(data))
        pixels = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS))[np.newaxis]
        images = eight_views(pixels)[:, 0] if views == 8 else pixels
        interpreter.set_tensor(place, images.astype(np.float32))
        interpreter.invoke()
        return interpreter.get_tensor(answer).mean(axis=0)

    return classify
