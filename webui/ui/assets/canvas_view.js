// How an editor's picture is seen: where it lies on the stage, how large, and what is drawn over it.
// Lengths on the stage are pixels of the screen, not of CSS, so that one matrix holds on every display and at every zoom of the browser.
"use strict";
{
  const ui = window.webui;
  const { make } = ui;
  const MARGIN = 8, LEAST_SEEN = 48;
  const LARGEST = 64, LARGEST_FIT = 8, SMALLEST_OF_FIT = 0.5;
  const PROXY_SIDE = 2048;
  const TINT = 0xff5a3cff;  // as the canvas stores it: alpha, blue, green, red
  const SMALLEST_RING = 9;

  class View {
    constructor(stage, changed) {
      Object.assign(this, { stage, changed, image: null, proxy: null, width: 1, height: 1, ratio: 1, scale: 1, x: 0, y: 0, fitted: true, dirty: null, ringAt: null });
      const sheet = (name) => make("canvas", { className: `canvas-${name}`, width: 1, height: 1, attributes: { "aria-hidden": "true" } });
      this.sheets = { picture: sheet("picture"), mask: sheet("mask"), paint: sheet("paint") };
      this.ring = make("div", { className: "canvas-ring", hidden: true });
      stage.append(...Object.values(this.sheets), this.ring);
      new ResizeObserver(([entry]) => this.resize(entry)).observe(stage);
    }

    /** Show a picture, or none; layers: what is drawn over it. */
    async show(image, width, height, layers) {
      Object.assign(this, { image, width, height, layers, proxy: null });
      this.fit();
      if (!image || Math.max(width, height) <= PROXY_SIDE) return;
      // A large picture is seen through a smaller one while it is zoomed out: quicker to draw, and smoother.
      const part = PROXY_SIDE / Math.max(width, height);
      const size = { resizeWidth: Math.max(1, Math.round(width * part)), resizeHeight: Math.max(1, Math.round(height * part)), resizeQuality: "high" };
      const proxy = await createImageBitmap(image, size).catch(() => null);
      if (this.image !== image) return;
      this.proxy = proxy;
      this.redraw();
    }

    resize(entry) {
      const exact = entry.devicePixelContentBoxSize?.[0];
      const ratio = window.devicePixelRatio || 1;
      const width = exact ? exact.inlineSize : Math.round(entry.contentRect.width * ratio);
      const height = exact ? exact.blockSize : Math.round(entry.contentRect.height * ratio);
      const { picture } = this.sheets;
      if (!width || !height || (picture.width === width && picture.height === height)) return;
      const middle = this.toPicture({ x: picture.width / 2, y: picture.height / 2 });
      for (const sheet of Object.values(this.sheets)) Object.assign(sheet, { width, height });
      this.ratio = width / this.stage.clientWidth;
      if (this.fitted || !this.image) this.fit();
      else this.place(width / 2 - middle.x * this.scale, height / 2 - middle.y * this.scale);
      this.draw();  // at once: a sheet whose size was changed is blank
    }

    get fitting() {
      const { picture } = this.sheets, margin = 2 * MARGIN * this.ratio;
      return Math.min(Math.max(1, picture.width - margin) / this.width, Math.max(1, picture.height - margin) / this.height, LARGEST_FIT * this.ratio);
    }

    fit() {
      if (this.image) this.scale = this.fitting;
      this.center();
      this.fitted = true;
    }

    center() {
      const { picture } = this.sheets;
      this.place((picture.width - this.width * this.scale) / 2, (picture.height - this.height * this.scale) / 2);
    }

    /** Zoom so that the point of the picture under `at` stays there; without it, about the stage's middle. */
    zoom(scale, at = { x: this.sheets.picture.width / 2, y: this.sheets.picture.height / 2 }) {
      const fixed = this.toPicture(at);
      this.scale = Math.min(LARGEST, Math.max(scale, Math.min(this.fitting * SMALLEST_OF_FIT, 1)));
      this.place(at.x - fixed.x * this.scale, at.y - fixed.y * this.scale);
    }

    pan(x, y) {
      this.place(this.x + x, this.y + y);
    }

    /** Put the picture's corner there, but never all of it out of sight. */
    place(x, y) {
      const within = (corner, side, room) => Math.min(room - LEAST_SEEN, Math.max(LEAST_SEEN - side, corner));
      const { picture } = this.sheets;
      // Whole pixels, so that the edges of what is drawn stay sharp.
      this.x = Math.round(within(x, this.width * this.scale, picture.width));
      this.y = Math.round(within(y, this.height * this.scale, picture.height));
      this.fitted = false;
      this.redraw();
      this.changed();
    }

    /** Bring a point of the picture into sight. */
    reveal(point) {
      const { picture } = this.sheets, at = this.toStage(point);
      const missing = (value, room) => (value < LEAST_SEEN ? LEAST_SEEN - value : value > room - LEAST_SEEN ? room - LEAST_SEEN - value : 0);
      const x = missing(at.x, picture.width), y = missing(at.y, picture.height);
      if (x || y) this.pan(x, y);
    }

    /** Where a pointer is, in pixels of the stage. */
    at(event) {
      const { picture } = this.sheets, box = picture.getBoundingClientRect();
      return { x: ((event.clientX - box.left) * picture.width) / box.width, y: ((event.clientY - box.top) * picture.height) / box.height };
    }

    toPicture({ x, y }) {
      return { x: (x - this.x) / this.scale, y: (y - this.y) / this.scale };
    }

    toStage({ x, y }) {
      return { x: x * this.scale + this.x, y: y * this.scale + this.y };
    }

    /** A circle as large as the brush is, about a point of the picture; null hides it. */
    showRing(point, size) {
      this.ringAt = point && { point, size };
      this.ring.hidden = !point;
      if (!point) return;
      const { x, y } = this.toStage(point), side = (size * this.scale) / this.ratio;
      Object.assign(this.ring.style, { width: `${side}px`, height: `${side}px`, transform: `translate(${x / this.ratio - side / 2}px, ${y / this.ratio - side / 2}px)` });
      this.stage.classList.toggle("ringed", side >= SMALLEST_RING);
    }

    /** Draw again before the screen is next shown.  box: of the picture, when only what lies over it has changed there. */
    redraw(box = null) {
      const planned = this.dirty !== null;
      this.dirty = box && (!planned || this.dirty.box)
        ? { box: planned ? united(this.dirty.box, box) : box }
        : { box: null };
      if (!planned) requestAnimationFrame(() => this.dirty && this.draw());
    }

    draw() {
      const box = this.dirty?.box;
      this.dirty = null;
      if (!box) this.drawPicture();
      this.drawLayer("mask", box);
      this.drawLayer("paint", box);
      if (!box && this.ringAt) this.showRing(this.ringAt.point, this.ringAt.size);
    }

    /** The part of the picture that can be seen, in its pixels. */
    seen() {
      const { picture } = this.sheets;
      const from = this.toPicture({ x: 0, y: 0 }), to = this.toPicture({ x: picture.width, y: picture.height });
      const left = Math.max(0, Math.floor(from.x)), top = Math.max(0, Math.floor(from.y));
      return { left, top, right: Math.min(this.width, Math.ceil(to.x)), bottom: Math.min(this.height, Math.ceil(to.y)) };
    }

    drawPicture() {
      const sheet = this.sheets.picture, context = sheet.getContext("2d");
      context.clearRect(0, 0, sheet.width, sheet.height);
      if (!this.image) return;
      const source = this.proxy && this.scale * this.width <= this.proxy.width ? this.proxy : this.image;
      const { left, top, right, bottom } = this.seen();
      if (left >= right || top >= bottom) return;
      const across = (source.naturalWidth ?? source.width) / this.width, down = (source.naturalHeight ?? source.height) / this.height;
      const corner = this.toStage({ x: left, y: top });
      context.imageSmoothingEnabled = this.scale < 1;
      context.drawImage(source, left * across, top * down, (right - left) * across, (bottom - top) * down,
        corner.x, corner.y, (right - left) * this.scale, (bottom - top) * this.scale);
    }

    /** What is drawn over the picture: each pixel of the screen asks for the one of the picture that lies under its middle. */
    drawLayer(name, box) {
      const layer = this.layers?.[name], sheet = this.sheets[name];
      sheet.hidden = !layer || !this.image;
      if (sheet.hidden) return;
      const from = this.toStage({ x: box?.left ?? 0, y: box?.top ?? 0 }), to = this.toStage({ x: box?.right ?? 0, y: box?.bottom ?? 0 });
      const left = box ? Math.max(0, Math.floor(from.x)) : 0, top = box ? Math.max(0, Math.floor(from.y)) : 0;
      const right = box ? Math.min(sheet.width, Math.ceil(to.x)) : sheet.width, bottom = box ? Math.min(sheet.height, Math.ceil(to.y)) : sheet.height;
      if (left >= right || top >= bottom) return;
      const context = sheet.getContext("2d");
      const image = context.createImageData(right - left, bottom - top), out = new Uint32Array(image.data.buffer);
      const columns = Int32Array.from({ length: right - left }, (_, place) => {
        const column = Math.floor((left + place + 0.5 - this.x) / this.scale);
        return column < this.width ? column : -1;
      });
      const isMask = name === "mask", { data } = layer;
      for (let row = top; row < bottom; row++) {
        const line = Math.floor((row + 0.5 - this.y) / this.scale);
        if (line < 0 || line >= this.height) continue;
        for (let place = 0; place < columns.length; place++) {
          const value = columns[place] < 0 ? 0 : data[line * this.width + columns[place]];
          if (value) out[(row - top) * columns.length + place] = isMask ? TINT : value;
        }
      }
      context.putImageData(image, left, top);
    }
  }

  const united = (one, other) => ({
    left: Math.min(one.left, other.left), top: Math.min(one.top, other.top),
    right: Math.max(one.right, other.right), bottom: Math.max(one.bottom, other.bottom),
  });

  ui.CanvasView = View;
}
