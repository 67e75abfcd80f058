"""What the page does with a chosen image before it is sent: remarks and the crop, in Chromium."""

import base64
import io

import pytest
from PIL import Image, ImageDraw, ImageFilter

from lesion_lens.model.crops import LEAST_KEPT
from tests.support.browser import chosen, drawn
from tests.support.drawings import draw_for, draw_grainy_lesion, draw_lesion, encode

GOOD = draw_grainy_lesion(238)
LOW = drawn("low.png", draw_for("low"))
BORDERED = (0, 60, 600, 390)  # left, top, right, bottom of the image inside the border, in pixels


def bordered(image=GOOD):
    left, top, right, bottom = BORDERED
    frame = Image.new("RGB", image.size)
    frame.paste(image.resize((right - left, bottom - top)), (left, top))
    return frame


def with_corners(image=GOOD):
    mask = Image.new("L", image.size)
    ImageDraw.Draw(mask).ellipse((-20, -60, 620, 510), 255)
    return Image.composite(image, Image.new("RGB", image.size), mask)


def with_reflection(image=GOOD):
    image = image.copy()
    ImageDraw.Draw(image).ellipse((100, 100, 180, 180), "white")
    return image


@pytest.fixture
def page(desk, address):
    page = desk.new_page()
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("request", lambda sent: sent.method == "POST" and page.faults.append(sent.url))
    page.goto(address)
    yield page
    page.close()


def choose(page, *files):
    page.set_input_files("#pic", list(files))
    page.locator(".checks").nth(len(files) - 1).wait_for(state="attached")


def remarks(page):
    return page.locator(".remarks li").evaluate_all("all => all.map((one) => one.dataset.remark)")


def sent_image(page):
    """Return the file that will be sent, as an image of Pillow."""
    data = page.evaluate(
        """() => new Promise((resolve) => {
          const reader = new FileReader();
          reader.onload = () => resolve(reader.result);
          reader.readAsDataURL(document.getElementById("pic").files[0]);
        })"""
    )
    return Image.open(io.BytesIO(base64.b64decode(data.split(",")[1])))


def cut_by_keys(page, name="low.png", keys=("-",) * 15):
    """Open the dialog and press keys in it; Enter uses the crop."""
    page.get_by_role("button", name=f"Crop: {name}").press("Enter")
    page.locator("#crop").wait_for()
    for key in keys:
        page.keyboard.press(key)


def classify(page):
    page.get_by_role("button", name="Classify").click()
    page.locator("#result").wait_for()


# --- Remarks ---------------------------------------------------------------------------------


REMARKED = {
    "good": (GOOD, []),
    "dark": (GOOD.point(lambda level: level // 3), ["dark"]),
    "bright": (GOOD.point(lambda level: min(255, level * 2)), ["bright"]),
    "blurred": (GOOD.filter(ImageFilter.GaussianBlur(8)), ["blurred"]),
    "with a reflection": (with_reflection(), ["glare"]),
    "with corners": (with_corners(), ["corners"]),
    "with a border": (bordered(), ["border"]),
    "from afar": (draw_lesion(ellipse=(290, 215, 330, 245)), ["small"]),
    "cut off": (draw_lesion(ellipse=(-200, 100, 200, 350)), ["cut-off"]),
    "all black": (Image.new("RGB", (600, 450)), ["dark"]),  # not a border
    "a pixel": (Image.new("RGB", (1, 1), "white"), ["bright", "blurred"]),
    "narrow": (Image.new("RGB", (3, 900), (200, 160, 150)), ["blurred"]),
}


def test_a_remark_is_made_of_what_is_wrong_and_of_nothing_else(page):
    choose(page, *(drawn(name, image) for name, (image, _) in REMARKED.items()))
    found = page.locator("#chosen > li").evaluate_all(
        """items => items.map((item) => [
          item.querySelector(".file").textContent,
          Array.from(item.querySelectorAll("[data-remark]"), (one) => one.dataset.remark),
        ])"""
    )
    assert dict(found) == {name: keys for name, (_, keys) in REMARKED.items()}
    assert page.faults == []  # nothing is sent


def test_of_a_file_that_the_browser_cannot_read_nothing_is_said(page):
    spoiled = {"name": "spoiled.png", "mimeType": "image/png", "buffer": b"hello"}
    page.set_input_files("#pic", [spoiled, LOW])
    page.locator(".checks").wait_for(state="attached")
    assert page.locator("#chosen > li").count() == 2
    assert page.locator(".checks").count() == 1
    assert page.faults == []


def test_a_picture_is_looked_at_upright(page):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    left_half_black = Image.new("RGB", (600, 450))
    left_half_black.paste(GOOD.crop((300, 0, 600, 450)), (300, 0))
    data = encode(left_half_black, "JPEG", exif=exif)
    choose(page, {"name": "phone.jpg", "mimeType": "image/jpeg", "buffer": data})
    page.get_by_role("button", name="Cut the black border away").click()
    page.get_by_text("The black border was cut away").wait_for()
    assert sent_image(page).size == pytest.approx((450, 300), abs=6)


# --- The black border ------------------------------------------------------------------------


def test_a_black_border_is_cut_away_and_low_risk_stays_possible(page):
    choose(page, drawn("low.png", bordered(draw_for("low"))))
    page.get_by_role("button", name="Cut the black border away").click()
    page.get_by_text("The black border was cut away").wait_for()
    assert remarks(page) == []
    left, top, right, bottom = BORDERED
    assert sent_image(page).size == pytest.approx((right - left, bottom - top), abs=6)
    classify(page)
    assert "low" in page.inner_text("#level")
    assert "black border" in page.inner_text("#cropped")


def framed(left, top, image):
    """Put an image in a black frame of 600 by 450 pixels in all, at `left` and `top`."""
    frame = Image.new("RGB", (600, 450))
    frame.paste(image.resize((600 - 2 * left, 450 - 2 * top)), (left, top))
    return frame


def test_a_wide_border_is_said_to_rule_out_low_risk(page):
    choose(page, drawn("low.png", framed(165, 124, draw_for("low"))))
    assert remarks(page) == ["wide-border"]
    page.get_by_role("button", name="Cut the black border away").click()
    said = "The black border was cut away. With this crop, the result cannot be low risk."
    page.get_by_text(said).wait_for()


def test_a_frame_that_cuts_only_black_is_used(page):
    choose(page, drawn("low.png", framed(60, 45, draw_for("low"))))
    cut_by_keys(page, keys=["-"])
    assert page.inner_text("#crop output").endswith("It cuts away only black.")
    page.get_by_role("button", name="Use the crop").click()
    page.get_by_text("Some of the black border was cut away.").wait_for()
    assert sent_image(page).size == (588, 441)


def test_a_frame_without_skin_cannot_be_used(page):
    choose(page, drawn("low.png", framed(165, 124, draw_for("low"))))
    cut_by_keys(page, keys=["-"] * 50)
    for _ in range(30):
        page.keyboard.press("ArrowUp")
    assert "only the black border" in page.inner_text("#crop output")
    assert page.get_by_role("button", name="Use the crop").is_disabled()


# --- The crop --------------------------------------------------------------------------------


def test_by_default_the_whole_picture_is_sent(page):
    choose(page, LOW)
    assert sent_image(page).size == (600, 450)
    classify(page)
    assert "low" in page.inner_text("#level")
    assert page.locator("#cropped").count() == 0


def test_a_crop_by_keyboard_is_sent_and_is_never_low(page):
    choose(page, LOW)
    cut_by_keys(page)
    assert page.locator("#crop .frame").evaluate("e => e === document.activeElement")
    assert "With this crop, the result cannot be low risk" in page.inner_text("#crop output")
    page.get_by_role("button", name="Use the crop").press("Enter")
    page.get_by_text("51 % of the picture was cut away").wait_for()
    assert page.evaluate("document.activeElement.className").endswith("crop")
    sent = sent_image(page)
    assert (sent.size, sent.format) == ((420, 315), "PNG")
    classify(page)
    assert "raised" in page.inner_text("#level")
    assert "You cut away 51\xa0% of the picture" in page.inner_text("#why")


def test_the_keys_move_the_frame_no_farther_than_the_edge(page):
    choose(page, LOW)
    cut_by_keys(page, keys=[*["Shift+ArrowDown"] * 5, *["ArrowLeft"] * 9, "ArrowUp"])
    assert page.inner_text("#crop output").startswith(
        "The frame starts 0\xa0% from the left and 3\xa0% from the top. It cuts away 19\xa0%"
    )


@pytest.mark.parametrize("cut", ["Use the crop", "Cut the black border away"])
def test_classify_waits_for_the_cut(page, cut):
    choose(page, drawn("low.png", bordered(draw_for("low"))))
    page.evaluate(
        """() => {
          const toBlob = HTMLCanvasElement.prototype.toBlob;
          HTMLCanvasElement.prototype.toBlob = function (...all) {
            setTimeout(() => toBlob.apply(this, all), 500); // as on a slow phone
          };
        }"""
    )
    if cut == "Use the crop":
        cut_by_keys(page)
    page.get_by_role("button", name=cut).click()
    classify(page)
    assert "As you cropped it" in page.inner_text("#result")


def test_the_whole_picture_is_not_sent_in_place_of_a_failed_crop(page):
    choose(page, LOW)
    page.evaluate("HTMLCanvasElement.prototype.toBlob = (done) => setTimeout(done, 300, null)")
    cut_by_keys(page)
    page.get_by_role("button", name="Use the crop").click()
    page.get_by_role("button", name="Classify").click()
    page.get_by_text("This picture could not be cropped").wait_for()
    page.wait_for_timeout(300)
    assert page.faults == []


def test_a_picture_is_not_removed_while_it_is_uploaded(page):
    choose(page, LOW)
    page.route("**/showresult", lambda route: None)  # never answered
    page.get_by_role("button", name="Classify").click()
    page.locator("#cancel").wait_for()
    page.get_by_role("button", name="Remove low.png").click()
    assert page.inner_text("#error").endswith("then remove this one.")
    assert chosen(page) == ["low.png"]


def test_a_cut_picture_is_not_added_again(page):
    choose(page, LOW)
    cut_by_keys(page)
    page.get_by_role("button", name="Use the crop").click()
    page.get_by_text("was cut away").wait_for()
    page.set_input_files("#pic", [LOW])
    page.locator("#chosen-note", has_text="not added again: 1.").wait_for()
    assert chosen(page) == ["low.png"]


def test_without_its_worker_a_picture_can_be_cropped(page):
    page.route("**/inspector.js", lambda route: route.abort())
    page.reload()
    choose(page, drawn("low.png", bordered()))
    cut_by_keys(page)
    assert remarks(page) == []


def test_escape_changes_nothing(page):
    choose(page, LOW)
    cut_by_keys(page)
    page.keyboard.press("Escape")
    page.locator("#crop").wait_for(state="hidden")
    assert page.evaluate("document.activeElement.className").endswith("crop")
    assert sent_image(page).size == (600, 450)


def test_one_can_go_back_to_the_whole_picture(page):
    choose(page, LOW)
    cut_by_keys(page)
    page.get_by_role("button", name="Use the crop").click()
    page.get_by_role("button", name="Use the whole picture: low.png").click()
    page.get_by_text("was cut away").wait_for(state="detached")
    assert sent_image(page).size == (600, 450)


def test_the_frame_is_dragged_and_drawn_at_a_corner(page):
    choose(page, LOW)
    cut_by_keys(page, keys=[])
    box = page.locator("#crop canvas").bounding_box()

    def drag(start, end):
        for place, act in ((start, page.mouse.down), (end, page.mouse.up)):
            x, y = place
            page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
            act()

    drag((0.99, 0.99), (0.5, 0.5))
    drag((0.25, 0.25), (0.45, 0.25))
    said = page.inner_text("#crop output")
    assert said.startswith("The frame starts 20\xa0% from the left and 0\xa0% from the top.")


def test_the_frame_is_moved_by_touch(browser, address):
    with_touch = browser.new_context(has_touch=True, viewport={"width": 375, "height": 812})
    page = with_touch.new_page()
    page.goto(address)
    choose(page, LOW)
    page.get_by_role("button", name="Crop: low.png").tap()
    page.locator("#crop").wait_for()
    page.locator("#crop input").fill("50")
    box = page.locator("#crop canvas").bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] - 5, box["y"] + 5)  # for those who cannot drag
    assert page.inner_text("#crop output").startswith(
        "The frame starts 50\xa0% from the left and 0\xa0%"
    )
    with_touch.close()


def test_a_square_picture_opens_whole_and_stays_whole(page):
    choose(page, drawn("low.png", draw_for("low").resize((500, 500))))
    cut_by_keys(page, keys=[])
    assert (
        page.inner_text("#crop output") == "The frame shows the whole picture. Nothing is cut away."
    )
    page.get_by_role("button", name="Use the crop").click()
    page.locator("#crop").wait_for(state="hidden")
    assert sent_image(page).size == (500, 500)


def test_of_a_square_picture_one_step_more_than_the_largest_frame_is_the_whole(page):
    choose(page, drawn("low.png", draw_for("low").resize((500, 500))))
    cut_by_keys(page, keys=["-"])
    assert "It cuts away 25\xa0%" in page.inner_text("#crop output")
    page.keyboard.press("ArrowDown")
    assert "0\xa0% from the left and 15\xa0% from the top" in page.inner_text("#crop output")
    page.keyboard.press("+")
    assert "Nothing is cut away" in page.inner_text("#crop output")


@pytest.mark.parametrize(
    ("height", "shape"), [(640, (600, 450)), (640, (450, 800)), (812, (450, 800))]
)
def test_on_a_phone_all_buttons_of_the_dialog_are_in_view(browser, address, height, shape):
    phone = browser.new_context(
        has_touch=True, is_mobile=True, viewport={"width": 375, "height": height}
    )
    page = phone.new_page()
    page.goto(address)
    choose(page, drawn("low.png", draw_for("low").resize(shape)))
    cut_by_keys(page)
    boxes = [button.bounding_box() for button in page.locator("#crop button").all()]
    assert len({box["y"] for box in boxes}) == 1
    assert boxes[0]["y"] + boxes[0]["height"] <= height
    assert page.locator("#crop").evaluate("e => e.scrollHeight - e.clientHeight") == 0
    phone.close()


def test_an_upright_picture_gets_an_upright_frame(page):
    choose(page, drawn("low.png", draw_for("low").resize((450, 900))))
    cut_by_keys(page, keys="-")
    page.get_by_role("button", name="Use the crop").click()
    page.get_by_text("33 % of the picture was cut away").wait_for()
    assert sent_image(page).size == (450, 600)


def test_each_picture_of_several_has_its_own_crop(page):
    choose(page, LOW, drawn("other.png", draw_for("low")))
    cut_by_keys(page, "other.png")
    page.get_by_role("button", name="Use the crop").click()
    page.get_by_role("button", name="Classify 2 images").click()
    levels = [
        page.locator("#batch tr", has_text=name).locator(".level").inner_text()
        for name in ("low.png", "other.png")
    ]
    assert levels == ["Risk: low", "Risk: raised"]


def test_the_browser_goes_by_the_limit_of_the_server(page):
    assert float(page.get_attribute("#crop", "data-least-kept")) == LEAST_KEPT
