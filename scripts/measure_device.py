"""Measure how long a browser takes to classify on its own.

    python -m scripts.measure_device

Prints a table of medians of several pages in Chromium, each opened anew, so that no file is at hand
and no code compiled. The steps run on the page's main thread, because Chromium's throttling, which
stands for a slower phone, does not reach a worker. The app is served from this machine: a phone's
connection comes on top.
"""

import threading
from collections.abc import Sequence
from statistics import median

from playwright.sync_api import Browser, sync_playwright
from werkzeug.serving import make_server

from app import create_app
from lesion_lens.web.current import get_classifier
from scripts.chromium import launch
from skin_cancer_detection import preprocess
from tests.support.drawings import draw_grainy_lesion

RATES = (1, 4, 6)  # how many times slower than this machine
RUNS = 7

# In this order on each page; each may use what those before it left in `state`.
STEPS = {
    "fetch the model's file and read it": """
        const { readModel } = await import("/static/network.js");
        const answer = await fetch("/model/device");
        state.layers = readModel(await answer.arrayBuffer()).layers;""",
    "eight views of the first image": """
        const { predict } = await import("/static/occlusion.js");
        predict(state.layers, state.pixels, false);""",
    "eight views of another image": """
        const { predict } = await import("/static/occlusion.js");
        predict(state.layers, state.pixels, false);""",
    "eight views and the map": """
        const { predict } = await import("/static/occlusion.js");
        predict(state.layers, state.pixels);""",
}
FUNCTIONS = ",".join(f"async () => {{{step}}}" for step in STEPS.values())
TIME = f"""async ([pixels]) => {{
    const state = {{ pixels: Uint8Array.from(pixels) }};
    const times = [];
    for (const step of [{FUNCTIONS}]) {{
        const begun = performance.now();
        await step();
        times.push(performance.now() - begun);
    }}
    return times;
}}"""


def time_steps(browser: Browser, address: str, rate: int, pixels: Sequence[int]) -> list[float]:
    """The milliseconds of each step on a new page whose processor is throttled."""
    context = browser.new_context(service_workers="block")
    page = context.new_page()
    page.goto(f"{address}/offline")
    context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": rate})
    times: list[float] = page.evaluate(TIME, [pixels])
    context.close()
    return times


def main() -> None:
    app = create_app()
    get_classifier(app).load()  # now, so that it takes no time from the page
    app.test_client().get("/model/device")  # which is made once
    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    pixels = preprocess(draw_grainy_lesion(3)).ravel().tolist()
    columns = []
    with sync_playwright() as tools:
        browser = launch(tools)
        for rate in RATES:
            runs = [time_steps(browser, address, rate, pixels) for _ in range(RUNS)]
            columns.append([median(times) for times in zip(*runs, strict=True)])
        browser.close()
    server.shutdown()
    heads = ["as it is" if rate == 1 else f"{rate} times slower" for rate in RATES]
    print(f"| step | {' | '.join(heads)} |\n|---{'|---' * len(heads)}|")
    for name, *times in zip(STEPS, *columns, strict=True):
        print(f"| {name} | {' | '.join(f'{time:.0f} ms' for time in times)} |")


if __name__ == "__main__":
    main()
