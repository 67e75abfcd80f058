"""Decoding in separate processes: their limits, and the order of the images."""

import contextlib
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import ExifTags, Image

from lesion_lens import ROOT
from lesion_lens.model import decoder_processes, decoding
from lesion_lens.model.decoder import decode as decode_here
from lesion_lens.model.decoding import FOR_SMALL, ClientGone, DecoderPool, Requester
from lesion_lens.model.errors import (
    Busy,
    DamagedImage,
    EmptyImage,
    ImageTooCostly,
    ImageTooLarge,
    UnsupportedImage,
)
from lesion_lens.model.limits import (
    ANSWER_LIMIT,
    CPU_LIMIT,
    DECODE_MEMORY,
    FORMATS,
    MAX_DECODES,
    MEGA,
    OPENING_MEMORY,
)
from tests.support.drawings import draw_grainy_lesion, draw_lesion, encode
from tests.support.hostile import ENDLESS, huge_tile
from tests.support.waiting import wait_for

SMALL = encode(draw_lesion())
# The errors for a file that takes too long; the second if the machine is busy.
GIVEN_UP = (ImageTooCostly, Busy)
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's limits, and /proc")


@pytest.fixture(scope="module")
def pool():
    return DecoderPool()


# --- What comes back -------------------------------------------------------------------------


@pytest.mark.parametrize("image_format", FORMATS)
def test_a_decoder_gives_what_decoding_here_gives(pool, image_format):
    data = encode(draw_grainy_lesion(1), image_format)
    there, here = pool.decode(data, with_preview=True), decode_here(data, True, lambda _: None)
    assert (there.pixels == here.pixels).all()
    assert (there.preview, there.size) == (here.preview, here.size)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", EmptyImage),
        (b"x", UnsupportedImage),
        (SMALL[: len(SMALL) // 2], DamagedImage),
        (encode(Image.new("1", (5001, 5000))), ImageTooLarge),
        (encode(Image.new("1", (7000, 7200)), "JPEG"), ImageTooLarge),
        (encode(Image.new("1", (3000, 2700)), "WEBP"), ImageTooLarge),
    ],
)
def test_an_error_keeps_its_kind_and_its_words(pool, data, error):
    with pytest.raises(error) as there:
        pool.decode(data)
    with pytest.raises(error) as here:
        decode_here(data, False, lambda _: None)
    assert str(there.value) == str(here.value)


@pytest.mark.parametrize(
    ("size", "options"),
    [
        ((8064, 6048), {"image_format": "JPEG"}),
        ((5000, 5000), {"image_format": "PNG", "compress_level": 1}),
        ((3264, 2448), {"image_format": "WEBP"}),
        ((4284, 2856), {"image_format": "HEIF", "enc_params": {"preset": "ultrafast"}}),
        ((4032, 3024), {"image_format": "AVIF", "speed": 10}),
        ((4000, 3000), {"image_format": "JPEG2000", "quality_layers": [50], "irreversible": True}),
    ],
    ids=str,
)
def test_the_largest_photographs_fit_into_the_memory(pool, size, options):
    lesion = draw_lesion((600, 450)).resize(size)
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    image = lesion.convert("RGBA") if options["image_format"] == "PNG" else lesion
    assert pool.decode(encode(image, exif=turned, **options)).pixels[14, 14].mean() < 150


def just_below_the_exact_size(name):
    """Make the images that need the most memory among those not reduced in strips."""
    sideways = Image.Exif()
    sideways[ExifTags.Base.Orientation] = 5
    if name == "float":
        return encode(Image.new("F", (1414, 1414), 0.5), "TIFF")
    if name == "narrow":
        return encode(Image.new("RGB", (20_000, 99)), "JPEG", exif=sideways)
    return encode(Image.new("RGBA", (1632, 1224)), "PNG", exif=sideways)


@pytest.mark.parametrize("name", ["float", "narrow", "alpha"])
def test_an_image_that_is_just_small_enough_to_be_exact_is_decoded(name):
    pool = DecoderPool()  # its decoders hold no memory from other images to reuse
    for _ in range(3):  # memory that a decoder keeps from one image leaves less for the next
        assert pool.decode(just_below_the_exact_size(name), with_preview=True)


def scan_per_colour(width, height):
    """Make a grey JPEG, not progressive, with a separate scan for each of its three colours."""

    def segment(marker, content):
        return b"\xff" + bytes([marker]) + struct.pack(">H", len(content) + 2) + content

    huffman = bytes([1] + 15 * [0] + [0])  # a single code of one bit, for the value 0
    components = b"".join(bytes([colour, 0x11, 0]) for colour in (1, 2, 3))
    scans = (
        segment(0xDA, bytes([1, colour, 0, 0, 63, 0])) + bytes(width * height // 256 + 1)
        for colour in (1, 2, 3)
    )
    return b"".join(
        [
            *(b"\xff\xd8", segment(0xDB, bytes([0] + 64 * [1]))),
            segment(0xC0, struct.pack(">BHHB", 8, height, width, 3) + components),
            *(segment(0xC4, bytes([table]) + huffman) for table in (0x00, 0x10)),
            *(*scans, b"\xff\xd9"),
        ]
    )


def test_a_large_jpeg_with_a_scan_for_each_colour_is_decoded(pool):
    assert (pool.decode(scan_per_colour(4000, 3000)).pixels == 128).all()


# --- What a hostile file cannot do -----------------------------------------------------------


@on_linux
@pytest.mark.parametrize("hostile", [huge_tile(), ENDLESS], ids=["memory", "time"])
def test_a_file_that_takes_too_much_is_refused_in_time_and_the_next_is_decoded(pool, hostile):
    begin = time.monotonic()
    with pytest.raises((*GIVEN_UP, DamagedImage)):
        pool.decode(hostile)
    assert time.monotonic() - begin < 5
    assert pool.decode(SMALL)


@on_linux
def test_small_files_do_not_wait_for_those_that_take_long(pool):
    with ThreadPoolExecutor(8) as threads:
        slow = [threads.submit(pool.decode, ENDLESS) for _ in range(8)]
        time.sleep(0.2)
        begin = time.monotonic()
        assert pool.decode(SMALL)
        assert time.monotonic() - begin < 3
        for answer in slow:
            assert answer.exception(timeout=2 * ANSWER_LIMIT)
    assert time.monotonic() - begin < 2 * ANSWER_LIMIT


def test_an_image_that_can_never_have_its_memory_is_refused():
    pool = DecoderPool(memory=FOR_SMALL + 60 * MEGA)
    with pytest.raises(ImageTooCostly):
        pool.decode(encode(Image.new("RGB", (5000, 5000)), compress_level=1))
    with pytest.raises(ImageTooCostly):
        pool.decode(bytes(61 * MEGA))
    assert pool.decode(SMALL)


def test_large_images_never_have_more_memory_than_there_is(pool, monkeypatch):
    large, held = encode(Image.new("RGB", (4900, 4900)), compress_level=1), []
    real = DecoderPool._may_take

    def watched(pool, job, *given):
        is_granted = real(pool, job, *given)
        if is_granted:
            held.append(sum(one.memory for one in pool._running if one.memory > FOR_SMALL))
        return is_granted

    monkeypatch.setattr(DecoderPool, "_may_take", watched)
    with ThreadPoolExecutor(4) as threads:
        assert len(list(threads.map(pool.decode, [large] * 4))) == 4
    assert len(held) == 4
    assert max(held) <= DECODE_MEMORY - FOR_SMALL < 2 * min(held)


def decoders_of(pool):
    return [decoder.pid for decoder in pool._idle]


@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
def test_a_killed_decoder_costs_nobody_anything():
    pool = DecoderPool()
    large = encode(Image.effect_noise((4900, 4900), 80), compress_level=1)
    with ThreadPoolExecutor(2) as threads:
        slow = threads.submit(pool.decode, large)
        wait_for(lambda: any(job.decoder for job in list(pool._running)))
        quick = threads.submit(pool.decode, SMALL)
        victim = next(job for job in list(pool._running) if job.number == 0)
        os.kill(victim.decoder.pid, signal.SIGKILL)
        assert quick.result(timeout=5)
        assert slow.result(timeout=10)  # in its second attempt


def forker_of(pool):
    return pool._starter._forker._process.pid


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
@pytest.mark.parametrize("also_its_decoder", [False, True])
def test_when_the_process_that_forks_is_killed_another_takes_its_place(also_its_decoder):
    pool = DecoderPool()
    pool.decode(SMALL)
    os.kill(forker_of(pool), signal.SIGKILL)
    if also_its_decoder:
        os.kill(decoders_of(pool)[0], signal.SIGKILL)
    else:
        with pytest.raises(GIVEN_UP):  # from the orphan, which is cut off
            pool.decode(ENDLESS)
    assert pool.decode(SMALL)
    successor = forker_of(pool)
    with pytest.raises(GIVEN_UP):
        pool.decode(ENDLESS)
    assert pool.decode(SMALL)
    assert forker_of(pool) == successor


@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
def test_decoders_that_were_killed_while_idle_cost_nothing(pool):
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(pool.decode, [SMALL] * 12))
    for pid in decoders_of(pool):
        os.kill(pid, signal.SIGKILL)
    assert pool.decode(SMALL)


@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
def test_a_forker_that_stands_still_is_replaced():
    pool = DecoderPool()
    pool.decode(SMALL)
    os.kill(forker_of(pool), signal.SIGSTOP)
    os.kill(decoders_of(pool)[0], signal.SIGKILL)
    begin = time.monotonic()
    while time.monotonic() - begin < 8:
        with contextlib.suppress(Busy):
            assert pool.decode(SMALL)
            return
    pytest.fail("no image was decoded again")


def children_of(pid):
    return [int(child) for child in (ROOT / f"/proc/{pid}/task/{pid}/children").read_text().split()]


@on_linux
def test_a_forker_that_answers_late_is_not_believed():
    starter = decoder_processes.DecoderStarter()
    first, late = starter.start(), starter._current()
    os.kill(late._process.pid, signal.SIGSTOP)
    first.kill()  # the forker does so only when nobody waits for it any more
    os.kill(late._process.pid, signal.SIGCONT)
    second, third = starter.start(), starter.start()
    assert {second.pid, third.pid} == set(children_of(starter._current()._process.pid))


@on_linux
def test_all_that_wait_for_a_forker_that_stands_still_get_its_successor():
    starter = decoder_processes.DecoderStarter()
    starter.start()
    os.kill(starter._current()._process.pid, signal.SIGSTOP)
    with ThreadPoolExecutor(3) as threads:
        begun = [threads.submit(starter.start) for _ in range(3)]
    assert len({decoder.result().pid for decoder in begun}) == 3


def test_a_decoder_that_ends_at_its_start_is_not_waited_for(monkeypatch):
    nothing = [sys.executable, "-c", "pass"]
    monkeypatch.setattr(
        decoder_processes, "_python", lambda *_, **options: subprocess.Popen(nothing, **options)
    )
    with pytest.raises(OSError, match="cannot be started"):
        decoder_processes._spawned()


@on_linux
def test_an_interruption_while_waiting_gives_the_turn_back(monkeypatch):
    pool = DecoderPool(places=0)  # so everybody waits
    monkeypatch.setattr(pool, "_start_watch", lambda: None)  # it needs at least one place
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(KeyboardInterrupt):
            pool.decode(SMALL)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert pool._waiting == pool._running == []


def test_where_no_process_can_be_started_the_answer_is_busy(monkeypatch, caplog):
    pool = DecoderPool()
    monkeypatch.setattr(pool._starter, "start", lambda: open("/no/such/file"))  # noqa: SIM115 (it raises)
    with pytest.raises(Busy):
        pool.decode(SMALL)
    assert "No image can be decoded" in caplog.text


@on_linux
def test_a_signal_to_all_processes_of_the_server_ends_no_decode(pool):
    """Heroku sends the signal to all processes; the server finishes what it has begun."""
    pool.decode(SMALL)
    (before, *_) = decoders_of(pool)
    for pid in (forker_of(pool), *decoders_of(pool)):
        os.kill(pid, signal.SIGTERM)
    assert pool.decode(SMALL)
    assert before in decoders_of(pool)


@on_linux
def test_a_decoder_that_kept_much_memory_leaves_without_costing_an_image():
    pool, seen = DecoderPool(), set()
    for _ in range(12):
        with pytest.raises(UnsupportedImage):
            pool.decode(bytes(10_000_000))
        assert pool.decode(SMALL)
        seen.update(decoders_of(pool))
    for pid in seen - set(decoders_of(pool)):
        assert not os.path.exists(f"/proc/{pid}")


def test_nobody_waits_for_a_client_that_has_gone(pool):
    gone = threading.Event()
    threading.Timer(0.3, gone.set).start()
    begin = time.monotonic()
    with pytest.raises(ClientGone):
        pool.decode(ENDLESS, requester=Requester(gone.is_set))
    assert time.monotonic() - begin < 1.5


def test_of_two_requests_the_one_that_decoded_less_comes_first():
    pool, order = DecoderPool(places=1), []
    busy, fresh = Requester(decoding=5), Requester()

    def decode(requester, name):
        pool.decode(SMALL, requester=requester)
        order.append(name)

    with ThreadPoolExecutor(3) as threads:
        threads.submit(pool.decode, encode(Image.effect_noise((3000, 3000), 50)))
        wait_for(lambda: pool._running)
        threads.submit(decode, busy, "busy")
        wait_for(lambda: len(pool._waiting) == 1)
        threads.submit(decode, fresh, "fresh")
    assert order == ["fresh", "busy"]


def test_a_long_decode_gives_way_and_is_begun_again(monkeypatch):
    monkeypatch.setattr(decoding, "SLICE", 0.1)  # so that half a second is long, on any machine
    pool, turns = DecoderPool(places=1), []
    real = DecoderPool._decoder_for
    monkeypatch.setattr(
        DecoderPool, "_decoder_for", lambda pool, job: turns.append(job.number) or real(pool, job)
    )
    with ThreadPoolExecutor(2) as threads:
        answer = threads.submit(pool.decode, ENDLESS[:2_000_000])
        wait_for(lambda: any(job.was_long for job in list(pool._running)))
        assert pool.decode(SMALL)
        assert isinstance(answer.exception(timeout=10), DamagedImage)
    assert turns[-2:] == [1, 0]


# --- How it is started -----------------------------------------------------------------------

SCRIPT = """
import sys
sys.path.insert(0, {root!r})
from lesion_lens.model.decoding import decode
print("begun")
print(decode(open({file!r}, "rb").read()).pixels.shape)
"""


@pytest.mark.parametrize("way", ["file", "input", "argument"])
def test_decoders_import_nothing_of_the_program_that_starts_them(tmp_path, way):
    """Run an unguarded script: if decoders imported it, it would print 'begun' for ever."""
    (tmp_path / "a.png").write_bytes(SMALL)
    script = SCRIPT.format(root=str(ROOT), file=str(tmp_path / "a.png"))
    (tmp_path / "script.py").write_text(script, encoding="utf-8")
    (tmp_path / "numpy.py").write_text("raise SystemExit('the wrong numpy')", encoding="utf-8")
    arguments = {"file": [str(tmp_path / "script.py")], "input": ["-"], "argument": ["-c", script]}
    done = subprocess.run(
        [sys.executable, *arguments[way]], cwd=tmp_path, timeout=60,
        env=os.environ | {"PYTHONSAFEPATH": "1"},
        input=script if way == "input" else "", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "begun\n(28, 28, 3)\n"
    assert done.stderr == ""


@on_linux
def test_a_decoder_knows_neither_tensorflow_nor_the_app(pool):
    pool.decode(SMALL)
    libraries = (ROOT / f"/proc/{decoders_of(pool)[0]}/maps").read_text()
    assert "_imaging" in libraries
    assert not any(name in libraries for name in ("tensorflow", "h5py", "litert", "markupsafe"))


def test_where_there_is_no_fork_each_decoder_is_started_by_itself(monkeypatch):
    monkeypatch.setattr(decoder_processes, "CAN_FORK", False)
    pool = DecoderPool()
    assert pool.decode(SMALL, with_preview=True).size == (600, 450)
    with pytest.raises(GIVEN_UP):
        pool.decode(ENDLESS)
    assert pool.decode(SMALL)


@on_linux
def test_decoders_end_with_the_program_that_started_them(tmp_path):
    (tmp_path / "a.png").write_bytes(SMALL)
    script = SCRIPT.format(root=str(ROOT), file=str(tmp_path / "a.png"))
    script += "import os, signal\nfrom lesion_lens.model.decoding import _POOL\n"
    script += "print(_POOL._idle[0].pid, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)\n"
    done = subprocess.run(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, check=False, timeout=60
    )
    decoder = int(done.stdout.split()[-1])
    wait_for(lambda: not os.path.exists(f"/proc/{decoder}"))


@on_linux
def test_the_remarks_of_libraries_are_not_printed(capfd, pool):
    data = bytearray(encode(Image.new("L", (64, 64)), "TIFF", compression="tiff_lzw"))
    data[8:40] = bytes(32)
    with pytest.raises(DamagedImage):
        pool.decode(bytes(data))
    assert capfd.readouterr() == ("", "")


@on_linux
def test_the_limits_are_the_kernels(pool):
    with ThreadPoolExecutor(1) as threads:
        threads.submit(pool.decode, ENDLESS)
        wait_for(lambda: any(job.was_long for job in list(pool._running)))
        pid = next(job.decoder.pid for job in pool._running)
        said = (ROOT / f"/proc/{pid}/limits").read_text()
        kept = int((ROOT / f"/proc/{pid}/statm").read_text().split()[0]) * 4096
    limits = {line[:25].strip(): line[25:].split()[0] for line in said.splitlines()}
    hard = {line[:25].strip(): line[25:].split()[1] for line in said.splitlines()}
    for kind in ("Max file size", "Max core file size"):
        assert limits[kind] == hard[kind] == "0"
    assert CPU_LIMIT < int(limits["Max cpu time"]) <= CPU_LIMIT + 3
    assert 0 < int(limits["Max address space"]) - kept <= OPENING_MEMORY


@on_linux
@pytest.mark.parametrize("limits", ["-t 60", "-v 1500000"])
def test_limits_from_outside_are_no_hindrance(tmp_path, limits):
    (tmp_path / "a.png").write_bytes(SMALL)
    script = SCRIPT.format(root=str(ROOT), file=str(tmp_path / "a.png"))
    command = ["bash", "-c", f'ulimit {limits}; exec "$0" -c "$1"', sys.executable, script]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.endswith("(28, 28, 3)\n")


def test_no_more_are_decoded_at_once_than_there_are_places(pool):
    with ThreadPoolExecutor(3 * MAX_DECODES) as threads:
        list(threads.map(pool.decode, [SMALL] * 6 * MAX_DECODES))
    assert len(pool._idle) <= MAX_DECODES


def test_a_batch_of_noise_has_the_same_pixels_in_any_order(pool):
    files = [encode(draw_grainy_lesion(seed)) for seed in range(6)]
    with ThreadPoolExecutor(6) as threads:
        pixels = [image.pixels for image in threads.map(pool.decode, files)]
    for data, found in zip(files, pixels, strict=True):
        assert np.array_equal(found, decode_here(data, False, lambda _: None).pixels)
