// What is drawn over a picture: layers with one value for each of its pixels, their history, and their files.
// The values stand in plain arrays. A browser's own canvas smooths edges, rounds colours, ends at 16 megapixels on phones, and in browsers
// that guard against fingerprints answers with noise; here a pixel is what was drawn.
"use strict";
{
  const ui = window.webui;
  const TILE = 128;
  const HISTORY_BYTES = 256 * 1024 * 1024, HISTORY_STEPS = 200;
  const STRIP_BYTES = 1024 * 1024;
  const BLOCK = 1024;
  const HALF = 128, OPAQUE = 0xff000000;
  const WHITE = 255;
  // Far less than a pixel: where a stroke's edge passes through a pixel's middle, rounding must not decide.
  const HAIR = 1e-6;

  ui.COLOUR_OPAQUE = OPAQUE;

  /** The brush's middle for a pointer: a pixel's middle for odd sizes, a corner for even ones, so that a dot is the same everywhere. */
  ui.snap = ({ x, y }, size) => (size % 2 ? { x: Math.floor(x) + 0.5, y: Math.floor(y) + 0.5 } : { x: Math.round(x), y: Math.round(y) });

  /** From where to where a stroke of this reach from a to b covers the horizontal line at y; nothing when it does not. */
  function spanAt(a, b, reach, y) {
    let low = Infinity, high = -Infinity;
    const include = (x) => { low = Math.min(low, x); high = Math.max(high, x); };
    for (const end of [a, b]) {
      const beyond = reach * reach - (y - end.y) ** 2;
      if (beyond >= 0) {
        include(end.x - Math.sqrt(beyond));
        include(end.x + Math.sqrt(beyond));
      }
    }
    const length = Math.hypot(b.x - a.x, b.y - a.y);
    if (length) {
      const across = { x: (-(b.y - a.y) / length) * reach, y: ((b.x - a.x) / length) * reach };
      const corners = [[a, 1], [b, 1], [b, -1], [a, -1]].map(([end, side]) => ({ x: end.x + side * across.x, y: end.y + side * across.y }));
      corners.forEach((from, place) => {
        const to = corners[(place + 1) % 4];
        if (from.y !== to.y && (from.y - y) * (to.y - y) <= 0) include(from.x + ((y - from.y) / (to.y - from.y)) * (to.x - from.x));
      });
    }
    return low <= high ? [low, high] : null;
  }

  /** Kind: Uint8Array for a mask of 0 and 255; Uint32Array for colours as a canvas stores them, 0 where there is none. */
  class Layer {
    constructor(width, height, Kind) {
      Object.assign(this, { width, height, data: new Kind(width * height), columns: Math.ceil(width / TILE), kept: null });
    }

    get tiles() {
      return this.columns * Math.ceil(this.height / TILE);
    }

    isEmpty() {
      const { data } = this;
      for (let place = 0; place < data.length; place++) if (data[place]) return false;
      return true;
    }

    /** Draw a round stroke: every pixel whose middle is within half the size of the line from a to b. */
    line(a, b, size, value) {
      const reach = size / 2, { width, height, data } = this;
      const bottom = Math.min(height - 1, Math.floor(Math.max(a.y, b.y) + reach - 0.5 + HAIR));
      for (let row = Math.max(0, Math.ceil(Math.min(a.y, b.y) - reach - 0.5 - HAIR)); row <= bottom; row++) {
        const span = spanAt(a, b, reach, row + 0.5);
        if (!span) continue;
        const left = Math.max(0, Math.ceil(span[0] - 0.5 - HAIR)), right = Math.min(width - 1, Math.floor(span[1] - 0.5 + HAIR));
        if (left > right) continue;
        for (let column = Math.floor(left / TILE); column <= Math.floor(right / TILE); column++) this.keep(Math.floor(row / TILE) * this.columns + column);
        data.fill(value, row * width + left, row * width + right + 1);
      }
    }

    fill(value) {
      this.keepAll();
      this.data.fill(value);
    }

    invert() {
      this.keepAll();
      const { data } = this;
      for (let place = 0; place < data.length; place++) data[place] = WHITE - data[place];
    }

    keepAll() {
      for (let tile = 0; tile < this.tiles; tile++) this.keep(tile);
    }

    /** Before a tile is changed: remember it once for each step of the history. */
    keep(tile) {
      if (this.kept && !this.kept.has(tile)) this.kept.set(tile, this.copy(tile));
    }

    rows(tile) {
      const left = (tile % this.columns) * TILE, top = Math.floor(tile / this.columns) * TILE;
      return { left, top, right: Math.min(this.width, left + TILE), bottom: Math.min(this.height, top + TILE) };
    }

    /** A tile's values; one number for a tile that is all the same. */
    copy(tile) {
      const { left, top, right, bottom } = this.rows(tile);
      const copied = new this.data.constructor((right - left) * (bottom - top));
      for (let row = top; row < bottom; row++) copied.set(this.data.subarray(row * this.width + left, row * this.width + right), (row - top) * (right - left));
      return copied.every((value) => value === copied[0]) ? copied[0] : copied;
    }

    put(tile, copied) {
      const { left, top, right, bottom } = this.rows(tile);
      for (let row = top; row < bottom; row++) {
        const start = row * this.width + left;
        if (typeof copied === "number") this.data.fill(copied, start, start + right - left);
        else this.data.set(copied.subarray((row - top) * (right - left), (row - top + 1) * (right - left)), start);
      }
    }

    /** Take over another layer's values, each pixel the nearest one's where the sizes differ. */
    take(other) {
      this.keepAll();
      for (let row = 0; row < this.height; row++) {
        const from = Math.floor(((row + 0.5) * other.height) / this.height) * other.width;
        for (let column = 0; column < this.width; column++) this.data[row * this.width + column] = other.data[from + Math.floor(((column + 0.5) * other.width) / this.width)];
      }
    }

    /** Read a picture of the layer's size: white is mask, what is not transparent is colour. */
    read(image) {
      this.keepAll();
      const isMask = this.data instanceof Uint8Array;
      const context = ui.make("canvas", { width: Math.min(BLOCK, this.width), height: Math.min(BLOCK, this.height) }).getContext("2d", { willReadFrequently: true });
      for (let top = 0; top < this.height; top += BLOCK) {
        for (let left = 0; left < this.width; left += BLOCK) {
          const columns = Math.min(BLOCK, this.width - left), rows = Math.min(BLOCK, this.height - top);
          context.clearRect(0, 0, columns, rows);
          context.drawImage(image, left, top, columns, rows, 0, 0, columns, rows);
          const bytes = context.getImageData(0, 0, columns, rows).data;
          for (let row = 0; row < rows; row++) {
            for (let column = 0; column < columns; column++) {
              const from = (row * columns + column) * 4, to = (top + row) * this.width + left + column;
              if (isMask) this.data[to] = bytes[from] >= HALF ? WHITE : 0;
              else this.data[to] = bytes[from + 3] >= HALF ? (OPAQUE | (bytes[from + 2] << 16) | (bytes[from + 1] << 8) | bytes[from]) >>> 0 : 0;
            }
          }
        }
      }
    }

    /** The layer as a PNG file: a mask in one bit a pixel, colours with transparency. */
    async file() {
      const { width, height, data } = this;
      if (data instanceof Uint32Array) {
        return writePng(width, height, 8, 6, width * 4, (row, bytes) => bytes.set(new Uint8Array(data.buffer, row * width * 4, width * 4)));
      }
      return writePng(width, height, 1, 0, Math.ceil(width / 8), (row, bytes) => {
        for (let column = 0; column < width; column++) if (data[row * width + column]) bytes[column >> 3] |= HALF >> (column & 7);
      });
    }
  }

  /** Undo and redo for some layers. A step holds the tiles it changed, as they are on its other side. */
  class History {
    constructor(layers) {
      Object.assign(this, { layers, steps: [], place: 0 });
    }

    get canUndo() { return this.place > 0; }
    get canRedo() { return this.place < this.steps.length; }

    begin() {
      for (const layer of this.layers) layer.kept = new Map();
    }

    /** Put back what has changed since the beginning; the step goes on. */
    restart() {
      for (const layer of this.layers) {
        for (const [tile, copied] of layer.kept) layer.put(tile, copied);
      }
    }

    /** As if the step had never begun. */
    cancel() {
      this.restart();
      for (const layer of this.layers) layer.kept = null;
    }

    /** End the step; whether anything was changed. */
    commit() {
      const step = this.layers.map((layer) => layer.kept);
      for (const layer of this.layers) layer.kept = null;
      if (step.every((kept) => !kept.size)) return false;
      this.steps.splice(this.place, Infinity, step);
      let bytes = 0, oldest = this.steps.length;
      while (oldest > 0 && this.steps.length - oldest < HISTORY_STEPS && (bytes += sizeOf(this.steps[oldest - 1])) <= HISTORY_BYTES) oldest--;
      this.steps.splice(0, Math.min(oldest, this.steps.length - 1));
      this.place = this.steps.length;
      return true;
    }

    undo() {
      if (this.canUndo) this.exchange(this.steps[--this.place]);
    }

    redo() {
      if (this.canRedo) this.exchange(this.steps[this.place++]);
    }

    exchange(step) {
      step.forEach((kept, place) => {
        const layer = this.layers[place];
        for (const [tile, copied] of kept) {
          kept.set(tile, layer.copy(tile));
          layer.put(tile, copied);
        }
      });
    }
  }

  const sizeOf = (step) => step.reduce((sum, kept) => [...kept.values()].reduce((bytes, copied) => bytes + (copied.byteLength ?? 8), sum), 0);

  /** A PNG file.  write(row, bytes): fills in one row.  See the PNG specification, sections 5 and 9. */
  async function writePng(width, height, depth, colours, stride, write) {
    const packer = new CompressionStream("deflate");
    const packed = new Response(packer.readable).arrayBuffer();
    const writer = packer.writable.getWriter();
    const rows = Math.max(1, Math.floor(STRIP_BYTES / (stride + 1)));
    for (let top = 0; top < height; top += rows) {
      const strip = new Uint8Array(Math.min(rows, height - top) * (stride + 1));
      for (let row = 0; row * (stride + 1) < strip.length; row++) write(top + row, strip.subarray(row * (stride + 1) + 1, (row + 1) * (stride + 1)));
      await writer.write(strip);
    }
    await writer.close();
    const header = new DataView(new ArrayBuffer(13));
    header.setUint32(0, width);
    header.setUint32(4, height);
    header.setUint8(8, depth);
    header.setUint8(9, colours);
    const signature = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
    return new Blob([signature, pngChunk("IHDR", header.buffer), pngChunk("IDAT", await packed), pngChunk("IEND", new ArrayBuffer(0))], { type: "image/png" });
  }

  function pngChunk(kind, content) {
    const bytes = new Uint8Array(12 + content.byteLength), view = new DataView(bytes.buffer);
    view.setUint32(0, content.byteLength);
    bytes.set(new TextEncoder().encode(kind), 4);
    bytes.set(new Uint8Array(content), 8);
    view.setUint32(8 + content.byteLength, ui.crc32(bytes.subarray(4, 8 + content.byteLength)));
    return bytes;
  }

  ui.CanvasLayer = Layer;
  ui.CanvasHistory = History;
}
