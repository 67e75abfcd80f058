// The network of skin_cancer_detection.py in plain JavaScript. `run` applies the layers of
// `build_model()` one by one. Each BatchNormalization is folded into the layer that follows it
// (lesion_lens/model/device_file.py), and Dropout does nothing outside training.
//
// An image here is { side, channels, data }: side × side pixels, row by row, with the channels of a
// pixel next to each other in a Float32Array.

export const SIDE = 28; // pixels; the network sees SIDE × SIDE × 3

const KERNEL = 3; // pixels a side of each convolution
const BLOCK = 8; // channels that `convolve` computes at once, in as many local variables

// --- The file ----------------------------------------------------------------------------------

// Read the safetensors file from /model/device: 8 bytes with the length of a text, the text (JSON that
// says where each array lies), and the arrays. `facts` is what the server has added; `layers` is for
// `run`.
export function readModel(buffer) {
  const length = Number(new DataView(buffer).getBigUint64(0, true));
  const text = new TextDecoder().decode(new Uint8Array(buffer, 8, length));
  const { __metadata__: said, ...arrays } = JSON.parse(text);
  const layers = {};
  for (const [name, { shape, data_offsets: [begin, end] }] of Object.entries(arrays)) {
    const [layer, part] = name.split("."); // "conv1.kernel"
    const values = new Float32Array(buffer, 8 + length + begin, (end - begin) / 4);
    layers[layer] ??= {};
    layers[layer][part] = part === "kernel" ? packed(values, shape) : values;
  }
  return { layers, facts: JSON.parse(said.lesion_lens) };
}

// Put a kernel into the order in which it is read: first the values for the first BLOCK output channels,
// then those for the next, and so on. In a dense layer: the values for the first output, then the next.
function packed(kernel, shape) {
  const channels = shape.at(-1);
  const rows = kernel.length / channels;
  const block = shape.length === 2 ? 1 : BLOCK;
  const ordered = new Float32Array(kernel.length);
  let place = 0;
  for (let first = 0; first < channels; first += block) {
    for (let row = 0; row < rows; row += 1) {
      for (let i = 0; i < block; i += 1, place += 1) {
        ordered[place] = kernel[row * channels + first + i];
      }
    }
  }
  return ordered;
}

// --- The network -------------------------------------------------------------------------------

// Classify one image: SIDE × SIDE pixels, RGB, 0–255, in a Uint8Array. Returns seven probabilities in
// the order of the classes, summing to 1.
export function run(layers, pixels) {
  let image = convolve(framed(pixels), layers.conv1); // 28, 28, 16
  image = pool(image); // 14, 14, 16
  image = convolve(image, layers.conv2); // 12, 12, 32
  image = convolve(image, layers.conv3); // 10, 10, 64
  image = pool(image); // 5, 5, 64
  image = convolve(image, layers.conv4); // 3, 3, 128
  image = convolve(image, layers.conv5); // 1, 1, 256
  let values = image.data;
  values = rectify(multiply(values, layers.dense1)); // 256
  values = rectify(multiply(values, layers.dense2)); // 128
  values = rectify(multiply(values, layers.dense3)); // 64
  values = rectify(multiply(values, layers.dense4)); // 32
  return softmax(multiply(values, layers.dense5)); // 7
}

// The image with a line of zeros on each side, as the padding 'same' of conv1 adds it.
function framed(pixels) {
  const side = SIDE + KERNEL - 1;
  const data = new Float32Array(side * side * 3);
  for (let y = 0; y < SIDE; y += 1) {
    data.set(pixels.subarray(y * SIDE * 3, (y + 1) * SIDE * 3), ((y + 1) * side + 1) * 3);
  }
  return { side, channels: 3, data };
}

// A convolution without padding, followed by ReLU. It takes nearly all of the time, so the sums of BLOCK
// channels are local variables, and each number of the input is read once for all of them. The numbers
// under one row of the kernel are contiguous in the input.
function convolve(image, { kernel, bias }) {
  const { data, channels } = image;
  const side = image.side - KERNEL + 1;
  const results = bias.length;
  const output = new Float32Array(side * side * results);
  const blockLength = KERNEL * KERNEL * channels * BLOCK;
  for (let first = 0; first < results; first += BLOCK) {
    for (let y = 0; y < side; y += 1) {
      for (let x = 0; x < side; x += 1) {
        let sum0 = bias[first];
        let sum1 = bias[first + 1];
        let sum2 = bias[first + 2];
        let sum3 = bias[first + 3];
        let sum4 = bias[first + 4];
        let sum5 = bias[first + 5];
        let sum6 = bias[first + 6];
        let sum7 = bias[first + 7];
        let k = (first / BLOCK) * blockLength;
        for (let row = 0; row < KERNEL; row += 1) {
          const begin = ((y + row) * image.side + x) * channels;
          const end = begin + KERNEL * channels;
          for (let i = begin; i < end; i += 1, k += BLOCK) {
            const value = data[i];
            sum0 += value * kernel[k];
            sum1 += value * kernel[k + 1];
            sum2 += value * kernel[k + 2];
            sum3 += value * kernel[k + 3];
            sum4 += value * kernel[k + 4];
            sum5 += value * kernel[k + 5];
            sum6 += value * kernel[k + 6];
            sum7 += value * kernel[k + 7];
          }
        }
        const place = (y * side + x) * results + first;
        output[place] = sum0;
        output[place + 1] = sum1;
        output[place + 2] = sum2;
        output[place + 3] = sum3;
        output[place + 4] = sum4;
        output[place + 5] = sum5;
        output[place + 6] = sum6;
        output[place + 7] = sum7;
      }
    }
  }
  return { side, channels: results, data: rectify(output) };
}

// The largest number of each 2×2 pixels, channel by channel.
function pool({ side, channels, data }) {
  const half = side / 2;
  const output = new Float32Array(half * half * channels);
  const below = side * channels;
  let place = 0;
  for (let y = 0; y < side; y += 2) {
    for (let x = 0; x < side; x += 2) {
      const begin = (y * side + x) * channels;
      for (let i = begin; i < begin + channels; i += 1, place += 1) {
        const upper = Math.max(data[i], data[i + channels]);
        output[place] = Math.max(upper, data[i + below], data[i + below + channels]);
      }
    }
  }
  return { side: half, channels, data: output };
}

// A dense layer without its activation.
function multiply(values, { kernel, bias }) {
  const output = new Float32Array(bias.length);
  for (let place = 0, k = 0; place < output.length; place += 1) {
    let sum = bias[place];
    for (let i = 0; i < values.length; i += 1, k += 1) sum += values[i] * kernel[k];
    output[place] = sum;
  }
  return output;
}

// ReLU, in place: set negative numbers to 0.
function rectify(values) {
  for (let i = 0; i < values.length; i += 1) if (values[i] < 0) values[i] = 0;
  return values;
}

function softmax(values) {
  const most = Math.max(...values); // subtracting it keeps the powers finite
  const powers = values.map((value) => Math.exp(value - most));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}
