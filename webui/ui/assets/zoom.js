// A picture on a stage that is enlarged, moved and measured against its own pixels: by wheel, fingers, mouse and keys.
"use strict";
{
  const ui = window.webui;
  const { make, makeButton } = ui;
  // A small picture is shown at least this wide, as far as the stage goes.
  const SMALLEST = 512;
  const BY_KEY = 1.25, BY_MOVE = 80, BY_WHEEL = 0.0015, BY_PINCH_OF_A_TRACKPAD = 0.01, LINE = 16;
  const MOST = 8, MOST_OF_A_PIXEL = 8, PIXELS_SEEN = 3;
  const DOUBLE = 300, NEAR = 24, SWIPE = 60;

  /**
   * image stands in stage and fills what room it has.
   *
   * step(by): another picture is wanted, 1 or -1.   leave(): the person has tapped beside the picture.
   * Scale 1 is the whole picture; x and y are how far its middle lies from the stage's, in CSS pixels.
   */
  ui.Zoom = class {
    constructor(stage, image, { step, leave = () => {} }) {
      Object.assign(this, { stage, image, stepTo: step, leave, fingers: new Map(), scale: 1, x: 0, y: 0, fitted: 1 });
      stage.classList.add("zoom-stage");
      image.draggable = false;
      image.classList.add("zoom-picture");
      image.addEventListener("load", () => this.reset());
      new ResizeObserver(() => this.show()).observe(stage);
      stage.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
      stage.addEventListener("pointerdown", (event) => this.press(event));
      stage.addEventListener("pointermove", (event) => this.drag(event));
      stage.addEventListener("pointerup", (event) => this.lift(event));
      stage.addEventListener("pointercancel", (event) => this.letGo(event));
    }

    /** The bar below the picture. */
    bar(...more) {
      const button = (name, icon, act) => makeButton(name, icon, act, { className: `tool icon-${icon}` });
      this.share = make("span", { className: "zoom-share", attributes: { role: "status" } });
      this.one = button("Actual size", "actual", () => this.zoomTo(this.real));
      return make("div", { className: "zoom-bar", attributes: { role: "toolbar", "aria-label": "Zoom" } },
        button("Zoom out", "minus", () => this.zoomBy(1 / BY_KEY)), this.share, button("Zoom in", "plus", () => this.zoomBy(BY_KEY)),
        button("Whole picture", "whole", () => this.reset()), this.one, ...more);
    }

    /** The scale at which one of the picture's pixels is one of the page's. */
    get real() { return 1 / this.fitted; }
    get most() { return Math.max(MOST, this.real * MOST_OF_A_PIXEL); }
    get isZoomed() { return this.scale > 1.001; }

    reset() {
      Object.assign(this, { scale: 1, x: 0, y: 0 });
      this.show();
    }

    /** Bring the picture to that scale; what is at this point of the window stays there. */
    zoomTo(scale, at = null) {
      const { left, top, width, height } = this.stage.getBoundingClientRect();
      const x = at ? at.x - left - width / 2 : 0, y = at ? at.y - top - height / 2 : 0;
      const wanted = Math.min(this.most, Math.max(Math.min(1, this.real), scale)), by = wanted / this.scale;
      Object.assign(this, { scale: wanted, x: x + (this.x - x) * by, y: y + (this.y - y) * by });
      this.show();
    }

    zoomBy(by, at = null) { this.zoomTo(Math.max(Math.min(1, this.scale), this.scale * by), at); }

    /** Close to the picture's pixels, and back; a picture that is shown as large as that or larger is enlarged twice. */
    toggle(at) {
      if (this.scale !== 1) this.reset();
      else this.zoomTo(this.real > 1.05 ? this.real : 2, at);
    }

    move(x, y) {
      this.x += x;
      this.y += y;
      this.show();
    }

    show() {
      const { naturalWidth, naturalHeight } = this.image, { clientWidth, clientHeight } = this.stage;
      if (!naturalWidth || !clientWidth) return;
      this.fitted = Math.min(clientWidth / naturalWidth, clientHeight / naturalHeight, Math.max(1, SMALLEST / naturalWidth));
      const width = naturalWidth * this.fitted, height = naturalHeight * this.fitted;
      const room = (picture, stage) => Math.max(0, (picture * this.scale - stage) / 2);
      const within = (place, most) => Math.max(-most, Math.min(most, place));
      this.x = within(this.x, room(width, clientWidth));
      this.y = within(this.y, room(height, clientHeight));
      Object.assign(this.image.style, { width: `${width}px`, height: `${height}px`, transform: `translate(-50%, -50%) translate(${this.x}px, ${this.y}px) scale(${this.scale})` });
      this.stage.classList.toggle("zoomed", this.isZoomed);
      this.image.classList.toggle("seen-by-pixels", this.isZoomed && this.scale * this.fitted >= PIXELS_SEEN);
      const share = `${Math.round(100 * this.scale * this.fitted)} %`;
      if (this.share && this.share.textContent !== share) this.share.textContent = share;
    }

    /** Whether this key was for the picture. */
    key({ key, ctrlKey, metaKey, altKey }) {
      if (ctrlKey || metaKey || altKey) return false;
      const moves = { ArrowLeft: [BY_MOVE, 0], ArrowRight: [-BY_MOVE, 0], ArrowUp: [0, BY_MOVE], ArrowDown: [0, -BY_MOVE] };
      if (key === "+" || key === "=") this.zoomBy(BY_KEY);
      else if (key === "-") this.zoomBy(1 / BY_KEY);
      else if (key === "0") this.reset();
      else if (key === "1") this.zoomTo(this.real);
      else if (moves[key] && this.isZoomed) this.move(...moves[key]);
      else if (key === "ArrowLeft" || key === "ArrowRight") this.stepTo(key === "ArrowLeft" ? -1 : 1);
      else return false;
      return true;
    }

    wheel(event) {
      event.preventDefault();
      const turned = event.deltaY * (event.deltaMode === WheelEvent.DOM_DELTA_LINE ? LINE : 1);
      this.zoomBy(Math.exp(-turned * (event.ctrlKey ? BY_PINCH_OF_A_TRACKPAD : BY_WHEEL)), { x: event.clientX, y: event.clientY });
    }

    press(event) {
      if (event.button !== 0) return;
      this.stage.setPointerCapture(event.pointerId);
      if (!this.fingers.size) this.start = { x: event.clientX, y: event.clientY, moved: false };
      else this.start.moved = true;
      this.fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    }

    drag(event) {
      const before = this.fingers.get(event.pointerId);
      if (!before) return;
      const now = { x: event.clientX, y: event.clientY };
      const other = [...this.fingers].find(([id]) => id !== event.pointerId)?.[1];
      this.fingers.set(event.pointerId, now);
      if (Math.hypot(now.x - this.start.x, now.y - this.start.y) > NEAR / 4) this.start.moved = true;
      if (!this.start.moved) return;
      this.stage.classList.add("in-hand");
      // With two fingers the middle between them carries the picture, and their distance enlarges it.
      if (!other) return this.move(now.x - before.x, now.y - before.y);
      this.x += (now.x - before.x) / 2;
      this.y += (now.y - before.y) / 2;
      const distance = (one) => Math.max(1, Math.hypot(one.x - other.x, one.y - other.y));
      this.zoomTo(Math.max(1, this.scale * distance(now) / distance(before)), { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 });
    }

    /** Whether the last finger has gone with this event. */
    letGo(event) {
      const isLast = this.fingers.delete(event.pointerId) && !this.fingers.size;
      if (isLast) this.stage.classList.remove("in-hand");
      return isLast;
    }

    lift(event) {
      if (!this.letGo(event)) return;
      const at = { x: event.clientX, y: event.clientY }, x = at.x - this.start.x, y = at.y - this.start.y;
      if (!this.start.moved) this.tap(at, event.timeStamp);
      else if (!this.isZoomed && event.pointerType === "touch" && Math.abs(x) > SWIPE && Math.abs(x) > 2 * Math.abs(y)) this.stepTo(x < 0 ? 1 : -1);
    }

    tap(at, time) {
      const { last } = this, { left, right, top, bottom } = this.image.getBoundingClientRect();
      this.last = { at, time };
      if (at.x < left || at.x > right || at.y < top || at.y > bottom) this.leave();
      else if (last && time - last.time < DOUBLE && Math.hypot(at.x - last.at.x, at.y - last.at.y) < NEAR) {
        this.last = null;
        this.toggle(at);
      }
    }
  };
}
