/* A drawing: a grid of values (class ids, or colours 0xrrggbb), what paints on it, and its history.
   Nothing is smoothed: every pixel holds a value that was chosen. */

export class Drawing {
  static HISTORY_BYTES = 64 * 2 ** 20;

  constructor(width, height, value) {
    this.width = width;
    this.height = height;
    this.values = new Uint32Array(width * height).fill(value);
    this.past = [];
    this.future = [];
  }

  /* Remember how it is now; what follows can be undone. */
  mark() {
    this.past.push(this.values.slice());
    this.future = [];
    const most = Math.max(2, Math.floor(Drawing.HISTORY_BYTES / this.values.byteLength));
    if (this.past.length > most) this.past.shift();
  }

  undo() { return this.#step(this.past, this.future); }
  redo() { return this.#step(this.future, this.past); }
  #step(from, to) {
    if (!from.length) return false;
    to.push(this.values);
    this.values = from.pop();
    return true;
  }

  at(x, y) { return this.values[y * this.width + x]; }
  holds(x, y) { return x >= 0 && y >= 0 && x < this.width && y < this.height; }

  /* Each of these paints and returns the box [left, top, right, bottom] that changed. */

  disc(x, y, diameter, value) {
    const radius = diameter / 2;
    const left = Math.max(0, Math.ceil(x - radius)), right = Math.min(this.width - 1, Math.floor(x + radius));
    const top = Math.max(0, Math.ceil(y - radius)), bottom = Math.min(this.height - 1, Math.floor(y + radius));
    if (diameter <= 1.5) {
      x = Math.round(x); y = Math.round(y);
      if (this.holds(x, y)) this.values[y * this.width + x] = value;
      return [x, y, x, y];
    }
    for (let row = top; row <= bottom; row++) {
      for (let column = left; column <= right; column++) {
        if ((column - x) ** 2 + (row - y) ** 2 <= radius * radius) this.values[row * this.width + column] = value;
      }
    }
    return [left, top, right, bottom];
  }

  line(x0, y0, x1, y1, diameter, value) {
    const steps = Math.max(1, Math.ceil(Math.hypot(x1 - x0, y1 - y0) / Math.max(1, diameter / 4)));
    for (let k = 0; k <= steps; k++) {
      this.disc(x0 + (x1 - x0) * k / steps, y0 + (y1 - y0) * k / steps, diameter, value);
    }
    const reach = diameter / 2 + 1;
    return [Math.min(x0, x1) - reach, Math.min(y0, y1) - reach, Math.max(x0, x1) + reach, Math.max(y0, y1) + reach];
  }

  rectangle(x0, y0, x1, y1, value) {
    const clip = (v, most) => Math.max(0, Math.min(most - 1, Math.round(v)));
    const [left, right] = [clip(Math.min(x0, x1), this.width), clip(Math.max(x0, x1), this.width)];
    const [top, bottom] = [clip(Math.min(y0, y1), this.height), clip(Math.max(y0, y1), this.height)];
    for (let row = top; row <= bottom; row++) {
      this.values.fill(value, row * this.width + left, row * this.width + right + 1);
    }
    return [left, top, right, bottom];
  }

  /* Fill the region of one value around a point, row by row. */
  fill(x, y, value) {
    x = Math.round(x); y = Math.round(y);
    if (!this.holds(x, y) || this.at(x, y) === value) return null;
    const { width, height, values } = this, old = this.at(x, y), waiting = [[x, y]];
    while (waiting.length) {
      let [column, row] = waiting.pop();
      const start = row * width;
      if (values[start + column] !== old) continue;
      let left = column, right = column;
      while (left > 0 && values[start + left - 1] === old) left--;
      while (right < width - 1 && values[start + right + 1] === old) right++;
      values.fill(value, start + left, start + right + 1);
      for (const near of [row - 1, row + 1]) {
        if (near < 0 || near >= height) continue;
        for (let k = left; k <= right; k++) {
          const here = values[near * width + k] === old;
          if (here && (k === left || values[near * width + k - 1] !== old)) waiting.push([k, near]);
        }
      }
    }
    return [0, 0, width - 1, height - 1];
  }

  replace(values) { this.mark(); this.values = values; }
}

/* Show values on a canvas; `colourOf` gives 0xrrggbb for a value. */
export function show(canvas, drawing, colourOf, box = null) {
  const { width, height, values } = drawing;
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; box = null; }
  const [left, top, right, bottom] = box
    ? [Math.max(0, Math.floor(box[0])), Math.max(0, Math.floor(box[1])), Math.min(width - 1, Math.ceil(box[2])), Math.min(height - 1, Math.ceil(box[3]))]
    : [0, 0, width - 1, height - 1];
  if (right < left || bottom < top) return;
  const image = new ImageData(right - left + 1, bottom - top + 1);
  const pixels = new DataView(image.data.buffer);
  let place = 0;
  for (let row = top; row <= bottom; row++) {
    for (let column = left; column <= right; column++, place += 4) {
      pixels.setUint32(place, (colourOf(values[row * width + column]) * 256 + 255) >>> 0);
    }
  }
  canvas.getContext("2d").putImageData(image, left, top);
}

/* Write values as PNG, which a canvas cannot: one channel for ids (8 or 16 bits) and grey, three
   for colours, exactly as they are. */
export async function png(drawing, kind) {
  const { width, height, values } = drawing;
  const deep = kind === "ids" && values.some((value) => value > 255);
  const bytes = kind === "colour" ? 3 : deep ? 2 : 1;
  const rows = new Uint8Array((width * bytes + 1) * height);
  let place = 0;
  for (let row = 0; row < height; row++) {
    place++; // the row's filter: none
    for (let column = 0; column < width; column++) {
      const value = values[row * width + column];
      if (kind === "colour") { rows[place++] = value >> 16; rows[place++] = value >> 8 & 255; rows[place++] = value & 255; }
      else if (kind === "grey") rows[place++] = luma(value);
      else { if (deep) rows[place++] = value >> 8; rows[place++] = value & 255; }
    }
  }
  const packed = new Response(new Blob([rows]).stream().pipeThrough(new CompressionStream("deflate")));
  const head = new Uint8Array(13), view = new DataView(head.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  head.set([deep ? 16 : 8, kind === "colour" ? 2 : 0, 0, 0, 0], 8);
  const signature = new Uint8Array([137, 80, 78, 71, 13, 10, 26, 10]);
  const data = new Uint8Array(await packed.arrayBuffer());
  return new Blob([signature, chunk("IHDR", head), chunk("IDAT", data), chunk("IEND", new Uint8Array(0))], { type: "image/png" });
}

function luma(value) {
  return Math.round(0.299 * (value >> 16) + 0.587 * (value >> 8 & 255) + 0.114 * (value & 255));
}

function chunk(name, data) {
  const bytes = new Uint8Array(data.length + 12), view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  bytes.set([...name].map((letter) => letter.charCodeAt(0)), 4);
  bytes.set(data, 8);
  view.setUint32(data.length + 8, crc(bytes.subarray(4, data.length + 8)));
  return bytes;
}

const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n >>> 0;
});

function crc(bytes) {
  let sum = 0xffffffff;
  for (const byte of bytes) sum = CRC[(sum ^ byte) & 255] ^ (sum >>> 8);
  return (sum ^ 0xffffffff) >>> 0;
}
