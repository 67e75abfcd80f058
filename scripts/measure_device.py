"""Measure how long a browser takes to classify on its own.

    python -m scripts.measure_device

Prints a table of medians over several page loads in Chromium. Each page is new, so no files are
cached and no code is compiled yet. The steps run on the page's main thread, because Chromium's
throttling, which simulates a slower phone, does not affect workers. The app is served from this
machine, so the time of a phone's connection is not included.
"""

import base64
import logging
import threading
from statistics import median

from playwright.sync_api import Browser, sync_playwright
from werkzeug.serving import make_server

from app import create_app
from lesion_lens.web.current import get_classifier
from scripts.chromium import launch
from tests.support.drawings import draw_grainy_lesion, encode

RATES = (1, 4, 6)  # how many times slower than this machine
RUNS = 7

# Run in this order on each page; each step may use what earlier ones left in `state`.
STEPS = {
    "fetch the model's file and read it": """
        const { readModel } = await import("/static/network.js");
        const answer = await fetch("/model/device");
        Object.assign(state, readModel(await answer.arrayBuffer()));""",
    "read a JPEG of 600×450 pixels": """
        const { readImage } = await import("/static/pixels.js");
        state.image = await readImage(state.file, state.facts.images);""",
    "eight views of the first image": """
        const { predict } = await import("/static/occlusion.js");
        predict(state.layers, state.image.pixels, false);""",
    "eight views of the same image again": """
        const { predict } = await import("/static/occlusion.js");
        predict(state.layers, state.image.pixels, false);""",
    "eight views and the map": """
        const { predict } = await import("/static/occlusion.js");
        state.prediction = predict(state.layers, state.image.pixels);""",
    "check familiarity, decide and build the page": """
        const { answerOf } = await import("/static/answer.js");
        const { pageOf } = await import("/static/device_page.js");
        const { judge } = await import("/static/familiarity.js");
        const judged = judge(state.image.pixels, state.facts.rules);
        const answer = answerOf(state.prediction, judged, null, state.facts);
        pageOf(answer, state.image, "lesion.jpg", state.facts, { today: "2026-01-31" });""",
}
FUNCTIONS = ",".join(f"async () => {{{step}}}" for step in STEPS.values())
TIME = f"""async (jpeg) => {{
    const bytes = Uint8Array.from(atob(jpeg), (sign) => sign.charCodeAt(0));
    const state = {{ file: new File([bytes], "lesion.jpg") }};
    const times = [];
    for (const step of [{FUNCTIONS}]) {{
        const begun = performance.now();
        await step();
        times.push(performance.now() - begun);
    }}
    return times;
}}"""


def time_steps(browser: Browser, address: str, rate: int, jpeg: str) -> list[float]:
    """Measure the milliseconds of each step on a new page with a throttled processor."""
    context = browser.new_context(service_workers="block")
    page = context.new_page()
    page.goto(f"{address}/offline")
    context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": rate})
    times: list[float] = page.evaluate(TIME, jpeg)
    context.close()
    return times


def main() -> None:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # one line for each request
    app = create_app()
    get_classifier(app).load()  # now, so that it does not slow down the page
    app.test_client().get("/model/device")  # the file is made on the first request
    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    jpeg = base64.b64encode(encode(draw_grainy_lesion(3), "JPEG", quality=90)).decode()
    columns = []
    with sync_playwright() as tools:
        browser = launch(tools)
        for rate in RATES:
            runs = [time_steps(browser, address, rate, jpeg) for _ in range(RUNS)]
            columns.append([median(times) for times in zip(*runs, strict=True)])
        browser.close()
    server.shutdown()
    heads = ["full speed" if rate == 1 else f"{rate} times slower" for rate in RATES]
    print(f"| step | {' | '.join(heads)} |\n|---{'|---' * len(heads)}|")
    for name, *times in zip(STEPS, *columns, strict=True):
        print(f"| {name} | {' | '.join(f'{time:.0f} ms' for time in times)} |")


if __name__ == "__main__":
    main()
