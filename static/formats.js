// What an image file says about itself: its format, its size, whether it is complete, and its colour
// profiles. Firefox and WebKit decode as much as there is of a truncated file, but a picture that is
// half grey must not get an answer. WebKit applies colour profiles even when told not to, while the
// server and the network's training ignore them.

// Look into the bytes of a file: { format, size, isWhole, isOdd }. The format is null if it is none of
// those below. The size is [width, height] in pixels, as stated in the file before anything is decoded.
// A picture is odd if browsers show a different frame of it than the server. Also overwrite
// colour profiles in the bytes, so that no decoder finds them.
export function lookInto(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const [format, , read] = FORMATS.find(([, begins]) => begins(view)) ?? [null];
  const found = { format, size: [0, 0], isWhole: false, isOdd: false };
  try {
    return { ...found, ...read?.(view) };
  } catch (error) {
    if (error.name === "RangeError") return found; // the file ends before the image does
    throw error;
  }
}

const FORMATS = [
  ["JPEG", (view) => letters(view, 0, 3) === "\xff\xd8\xff", jpeg],
  ["PNG", (view) => letters(view, 0, 8) === "\x89PNG\r\n\x1a\n", png],
  ["WebP", (view) => letters(view, 0, 4) === "RIFF" && letters(view, 8, 4) === "WEBP", webp],
  ["GIF", (view) => /^GIF8[79]a$/.test(letters(view, 0, 6)), gif],
  ["BMP", (view) => letters(view, 0, 2) === "BM", bmp],
  ["HEIF", (view) => letters(view, 4, 4) === "ftyp", heif], // AVIF is one, too
];

function letters(view, from, length) {
  let found = "";
  for (let at = from; at < Math.min(from + length, view.byteLength); at += 1) {
    found += String.fromCharCode(view.getUint8(at));
  }
  return found;
}

function write(view, from, name) {
  for (let i = 0; i < name.length; i += 1) view.setUint8(from + i, name.charCodeAt(i));
}

// ITU-T T.81, annex B: a JPEG is whole if it has its last marker. In coded data, a byte 255 is followed
// by something that does not start a segment: 0, a restart marker or another 255.
function jpeg(view) {
  let size = [0, 0];
  for (let at = 2; ;) {
    const marker = view.getUint8(at) === 0xff ? view.getUint8(at + 1) : 0;
    if (marker === 0xd9) return { size, isWhole: true };
    if (marker === 0xe2 && letters(view, at + 4, 11) === "ICC_PROFILE") write(view, at + 4, "-".repeat(11));
    const hasLength = marker > 0x01 && marker < 0xff && !(marker >= 0xd0 && marker <= 0xd8);
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame) size = [view.getUint16(at + 7), view.getUint16(at + 5)];
    at += hasLength ? 2 + view.getUint16(at + 2) : 1;
  }
}

// W3C PNG, sections 5.3 and 11.2: a PNG is whole if its critical chunks are intact, up to the last one.
// Before the pixels, the server does not accept damage in other chunks either.
function png(view) {
  const size = [view.getUint32(16), view.getUint32(20)];
  const met = new Set();
  for (let at = 8; ;) {
    const length = view.getUint32(at);
    const name = letters(view, at + 4, 4);
    const checksum = view.getUint32(at + 8 + length);
    const mustBeWhole = name < "a" || !met.has("IDAT");
    if (mustBeWhole && checksum !== crc32(view, at + 4, at + 8 + length)) return { size, isWhole: false };
    // The image itself belongs to an animation only if a frame is announced before it.
    const isOdd = met.has("acTL") && !met.has("IDAT") && !met.has("fcTL") && name === "IDAT";
    if (isOdd) return { size, isWhole: true, isOdd };
    if (name === "IEND") return { size, isWhole: true };
    met.add(name);
    if (["cHRM", "cICP", "gAMA", "iCCP", "sRGB"].includes(name)) {
      write(view, at + 4, "noCp"); // an unknown name, spelt like that of a chunk that decoders may skip
      view.setUint32(at + 8 + length, crc32(view, at + 4, at + 8 + length));
    }
    at += 12 + length;
  }
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let rest = byte;
  for (let bit = 0; bit < 8; bit += 1) rest = rest & 1 ? 0xedb88320 ^ (rest >>> 1) : rest >>> 1;
  return rest;
});

function crc32(view, from, to) {
  let rest = 0xffffffff;
  for (let at = from; at < to; at += 1) rest = CRC_TABLE[(rest ^ view.getUint8(at)) & 255] ^ (rest >>> 8);
  return ~rest >>> 0;
}

// RFC 9649, sections 2.4 and 2.7: the container states its length, and chunks follow.
function webp(view) {
  const end = 8 + view.getUint32(4, true);
  if (end > view.byteLength) return { isWhole: false };
  const size = WEBP_SIZES[letters(view, 12, 4)]?.(view);
  if (letters(view, 12, 4) === "VP8X") view.setUint8(20, view.getUint8(20) & ~0x20); // clears the flag for a profile
  for (let at = 12; at + 8 <= end; at += 8 + 2 * Math.ceil(view.getUint32(at + 4, true) / 2)) {
    if (letters(view, at, 4) === "ICCP") write(view, at, "noCP");
  }
  return { size, isWhole: Boolean(size) };
}

// By the first chunk: that of the canvas (VP8X), or a lossy (VP8) or lossless (VP8L) picture.
const WEBP_SIZES = {
  VP8X: (view) => [24, 27].map((at) => 1 + view.getUint16(at, true) + (view.getUint8(at + 2) << 16)),
  "VP8 ": (view) => [26, 28].map((at) => view.getUint16(at, true) & 0x3fff),
  VP8L: (view) => [0, 14].map((bit) => 1 + ((view.getUint32(21, true) >>> bit) & 0x3fff)),
};

// GIF89a, sections 18 to 22: checks the first picture up to the end of its data; the others do not
// count. It is odd if it does not cover the whole screen, because programs fill the rest differently.
function gif(view) {
  const tableAfter = (flags) => (flags & 0x80 ? 3 * 2 ** ((flags & 7) + 1) : 0);
  const afterBlocks = (from) => {
    let at = from;
    while (view.getUint8(at)) at += 1 + view.getUint8(at);
    return at + 1;
  };
  let at = 13 + tableAfter(view.getUint8(10));
  while (view.getUint8(at) === 0x21) at = afterBlocks(at + 2); // an extension
  const isPicture = view.getUint8(at) === 0x2c;
  const size = [6, 8].map((place) => view.getUint16(place, true));
  if (!isPicture) return { size, isWhole: false };
  const [left, top, ...frame] = [1, 3, 5, 7].map((place) => view.getUint16(at + place, true));
  afterBlocks(at + 11 + tableAfter(view.getUint8(at + 9)));
  return { size, isWhole: true, isOdd: left > 0 || top > 0 || String(frame) !== String(size) };
}

// If the rows are not compressed, all must be there. Otherwise the file must have its stated length.
function bmp(view) {
  const isOfOs2 = view.getUint32(14, true) < 40; // with a shorter header
  const [width, height] = isOfOs2
    ? [view.getUint16(18, true), view.getUint16(20, true)]
    : [view.getInt32(18, true), Math.abs(view.getInt32(22, true))];
  const size = [width, height];
  const isPlain = !isOfOs2 && [0, 3].includes(view.getUint32(30, true));
  if (!isPlain) return { size, isWhole: view.getUint32(2, true) <= view.byteLength };
  const row = 4 * Math.ceil((width * view.getUint16(28, true)) / 32); // bytes
  return { size, isWhole: view.getUint32(10, true) + row * height <= view.byteLength };
}

// ISO/IEC 14496-12, section 4.2: a sequence of boxes, each with its length. A length of 1 means that a
// length of 8 bytes follows, and 0 means the rest of the file. Phones append other data. Profiles are
// deep within "meta", in "colr" boxes of the types "prof" and "rICC". Sizes are in "ispe" boxes: one
// for each tile, and the largest one for the image. An animation is odd.
function heif(view) {
  const found = new Set();
  let size = [0, 0];
  for (let at = 0; at + 8 <= view.byteLength;) {
    const name = letters(view, at + 4, 4);
    let length = view.getUint32(at);
    if (length === 1) length = Math.max(16, Number(view.getBigUint64(at + 8)));
    else length = length ? Math.max(8, length) : view.byteLength - at;
    if (name === "meta") {
      const inside = letters(view, at, length);
      for (const { index } of inside.matchAll(/colr(prof|rICC)/g)) write(view, at + index, "free");
      for (const { index } of inside.matchAll(/ispe/g)) {
        const one = [8, 12].map((place) => view.getUint32(at + index + place));
        if (one[0] * one[1] > size[0] * size[1]) size = one;
      }
    }
    at += length;
    if (at <= view.byteLength) found.add(name);
    else if (name === "mdat" || name === "meta") return { isWhole: false };
  }
  const isOdd = ["avis", "msf1", "hevc"].includes(letters(view, 8, 4));
  return { size, isWhole: found.has("meta") && found.has("mdat"), isOdd };
}
