// An editor as it stands on the page: its picture, what is drawn on it, and the files of both on the server.
"use strict";
{
  const ui = window.webui;
  const { make } = ui;
  const NO_ANSWER = { error: "The server does not answer; try again." };
  const GONE = "The picture is not kept on the server any more. Choose it again.";
  const LEAST_STEP = 0.12;
  const LARGEST_BRUSH = 1024;

  class Editor {
    constructor(root, props, server, kind, handle) {
      Object.assign(this, { root, props, server, kind, handle, picture: null, value: null, history: null, layers: {}, tool: "brush", size: 32, last: null });
      this.turn = 0;          // counts pictures, so that an answer for an earlier one is told apart
      this.loading = this.marking = null;
      this.echoes = new ui.Echoes();
      this.sender = new ui.CanvasSender(this);
      this.build();
      this.gestures = new ui.CanvasGestures(this);
      this.acceptPictures();
      this.update();
    }

    get draws() { return this.kind.mask || this.kind.colours; }
    get isFull() { return this.root.classList.contains("full"); }

    build() {
      const { label } = this.kind;
      this.root.setAttribute("aria-label", label);
      this.stage = make("div", { className: "canvas-stage", tabIndex: -1, attributes: { role: "application", "aria-roledescription": "picture editor", "aria-label": label } });
      this.view = new ui.CanvasView(this.stage, () => this.bar?.update());
      this.bar = new ui.CanvasBar(this, this.kind);
      this.hint = make("button", { type: "button", className: "canvas-hint", onclick: () => this.bar.pictureInput.click() }, "Drop a picture here, paste it, or choose one");
      this.stage.append(this.hint);
      this.notice = make("p", { className: "notice", hidden: true, attributes: { role: "alert" } });
      this.status = make("p", { className: "canvas-status", attributes: { role: "status" } });
      this.facts = make("span", { className: "canvas-facts" });
      this.root.replaceChildren(make("div", { className: "canvas-head" }, make("span", { className: "canvas-title" }, label), this.facts, this.bar.picture),
        this.notice, this.bar.top, this.stage, this.bar.bottom, this.status);
      document.addEventListener("fullscreenchange", () => this.setFull(document.fullscreenElement === this.root));
      this.setOpacity(Number(this.bar.opacity.input.value));
    }

    acceptPictures() {
      const { root } = this;
      const mark = (on) => root.classList.toggle("dropping", on);
      root.addEventListener("dragover", (event) => { event.preventDefault(); mark(true); });
      root.addEventListener("dragleave", (event) => { if (!root.contains(event.relatedTarget)) mark(false); });
      root.addEventListener("drop", (event) => {
        event.preventDefault();
        mark(false);
        const file = event.dataTransfer?.files?.[0];
        if (file) this.load(file);
      });
    }

    tell(message) {
      this.notice.textContent = message ?? "";
      this.notice.hidden = !message;
    }

    say(text) {
      this.status.textContent = text;
    }

    update() {
      const { picture } = this;
      this.root.classList.toggle("empty", !picture);
      this.root.classList.toggle("busy", Boolean(this.loading));
      this.root.setAttribute("aria-busy", Boolean(this.loading));
      this.hint.hidden = Boolean(picture);
      this.stage.tabIndex = picture ? 0 : -1;
      this.facts.textContent = this.loading ? "Loading …" : picture ? `${picture.width} × ${picture.height}` : "";
      this.gestures.showHand();
      this.bar.update();
    }

    // --- Pictures in and out

    /** Take a picture from a Blob or an address; what is shown stays when it cannot be read. */
    load(source, { keepMask = false } = {}) {
      return this.open(async () => {
        const file = typeof source === "string" ? await fetchFile(source) : source;
        const upload = file && ui.upload(file);
        if (!upload) return { error: file ? ui.tooLarge({ name: file.name ?? "The picture", size: file.size }) : "This picture cannot be loaded: its file is gone, or you are logged out. Reload the page." };
        return { mask: "", ...(await this.server.store_picture(upload).catch(() => NO_ANSWER)) };
      }, keepMask);
    }

    /** Show a value: one that another editor had, or that was remembered. */
    show(value) {
      return value ? this.open(() => value, false) : this.clear();
    }

    /** The value was set from outside. */
    obey(value) {
      const wanted = value || null;
      const told = JSON.stringify(wanted);
      if (this.echoes.take(told) || told === JSON.stringify(this.value)) return;
      if (wanted) this.show(JSON.parse(JSON.stringify(wanted)));
      else this.clear();
    }

    open(find, keepMask) {
      const turn = ++this.turn;
      this.tell(null);
      this.loading = this.read(find, keepMask, turn).catch((error) => {
        if (turn !== this.turn) return;
        this.tell(error.message);
        this.publish();  // what is still shown, though something else was set
      }).then(() => {
        if (turn !== this.turn) return this.loading;
        this.loading = null;
        this.update();
      });
      this.update();
      return this.loading;
    }

    /** Find out what to show, get all of it, and only then show it.  Throws an Error with a sentence. */
    async read(find, keepMask, turn) {
      const found = await find();
      if (found.error) throw new Error(found.error);
      const { width, height, paint = "", mask = "" } = found;
      const original = (this.kind.colours && found.original) || found.picture;
      const parts = [original, this.kind.colours && paint, this.kind.mask && mask];
      const [image, painted, marked] = await Promise.all(parts.map((hash) => hash && decode(hash)));
      if (turn !== this.turn) return;
      if (!image || [painted, marked].includes(null)) {
        // Jobs keep the painted picture for longer than what it was painted from.
        if (original !== found.picture) return this.read(() => ({ ...found, original: "", paint: "" }), keepMask, turn);
        throw new Error(GONE);
      }
      if (image.naturalWidth !== width || image.naturalHeight !== height) throw new Error(`The picture is ${image.naturalWidth}x${image.naturalHeight}, not ${width}x${height} as was said. Choose it again.`);
      const keeps = keepMask && this.picture && this.layers.mask && !this.layers.mask.isEmpty();
      const layers = {
        ...(this.kind.mask ? { mask: new ui.CanvasLayer(width, height, Uint8Array) } : {}),
        ...(this.kind.colours ? { paint: new ui.CanvasLayer(width, height, Uint32Array) } : {}),
      };
      if (keeps) layers.mask.take(this.layers.mask);
      if (marked) layers.mask.read(marked);
      if (painted) layers.paint.read(painted);
      this.become({ hash: original, width, height }, image, layers, { mask: this.kind.mask ? mask : "", paint: painted ? paint : "", painted: painted ? found.picture : "" });
      if (keeps) this.sender.soon("mask");
    }

    become(picture, image, layers, hashes) {
      Object.assign(this, { picture, layers, hashes, last: null, drawing: null });
      this.sender.forget();
      this.history = picture ? new ui.CanvasHistory(Object.values(layers)) : null;
      this.view.show(image, picture?.width ?? 1, picture?.height ?? 1, layers);
      this.publish();
      this.update();
    }

    clear() {
      this.turn++;
      this.loading = null;
      this.tell(null);
      this.become(null, null, {}, {});
    }

    loadMask(file) {
      this.marking = this.mark(file);
      return this.marking;
    }

    async mark(file) {
      const { picture } = this;
      if (!picture || !this.kind.mask) return;
      this.tell(null);
      const upload = ui.upload(file, { width: picture.width, height: picture.height });
      const answer = upload ? await this.server.store_mask(upload).catch(() => NO_ANSWER) : { error: ui.tooLarge({ name: file.name ?? "The mask", size: file.size }) };
      if (picture !== this.picture) return;
      if (answer.error) return this.tell(answer.error);
      const image = answer.mask && (await decode(answer.mask));
      if (picture !== this.picture) return;
      if (image === null) return this.tell(GONE);
      this.step(() => (image ? this.layers.mask.read(image) : this.layers.mask.fill(0)), ["mask"]);
      const [width, height] = answer.given;
      if (width !== picture.width || height !== picture.height) this.say(`The mask was scaled from ${width} × ${height}.`);
      if (!image) this.tell("Nothing in this mask is white: it marks nothing.");
      await this.sender.save().catch(() => null);
    }

    async downloadMask() {
      const address = URL.createObjectURL(await this.layers.mask.file());
      make("a", { href: address, download: "mask.png" }).click();
      setTimeout(() => URL.revokeObjectURL(address), 60000);
    }

    // --- What was drawn goes to the server

    publish() {
      const value = this.current(), told = JSON.stringify(value);
      if (told !== JSON.stringify(this.props.value || null)) {
        this.echoes.write(told);
        this.props.value = value;
      }
      if (told === JSON.stringify(this.value)) return;
      this.value = value;
      this.handle.dispatchEvent(new CustomEvent("change", { detail: value }));
    }

    current() {
      if (!this.picture) return null;
      const { hash, width, height } = this.picture, { mask, paint, painted } = this.hashes;
      return { picture: painted || hash, mask, width, height, ...(painted ? { original: hash, paint } : {}) };
    }

    async ready() {
      do {
        await this.loading;
        await this.marking;
        await this.sender.save();
      } while (this.loading || this.sender.waits);
      return this.value;
    }

    // --- Drawing

    setTool(tool) {
      this.tool = tool;
      this.stage.dataset.tool = tool;
      this.say({ brush: "Brush", eraser: "Eraser", pipette: "Pick a colour" }[tool]);
      this.bar.update();
    }

    setSize(size) {
      this.size = Math.min(LARGEST_BRUSH, Math.max(1, Math.round(size)));
      this.say(`Brush size ${this.size} pixels`);
      this.bar.update();
    }

    stepSize(way) {
      this.setSize(this.size + way * Math.max(1, Math.round(this.size * LEAST_STEP)));
      if (this.view.ringAt) this.view.showRing(ui.snap(this.view.ringAt.point, this.size), this.size);
    }

    setOpacity(opacity) {
      this.view.sheets.mask.style.opacity = opacity;
      this.bar.update();
    }

    zoomBy(factor) {
      this.view.zoom(this.view.scale * factor);
    }

    middle() {
      const { picture: sheet } = this.view.sheets;
      return this.within(this.view.toPicture({ x: sheet.width / 2, y: sheet.height / 2 }));
    }

    within({ x, y }) {
      return { x: Math.min(this.picture.width - 0.5, Math.max(0.5, x)), y: Math.min(this.picture.height - 0.5, Math.max(0.5, y)) };
    }

    /** straight: a line from where the last stroke ended. */
    beginStroke(point, { straight = false, erasing = false }) {
      const at = ui.snap(point, this.size);
      this.drawing = { from: straight && this.last ? this.last : at, at, erasing: erasing || this.tool === "eraser" };
      this.history.begin();
      this.line(this.drawing.from, at);
    }

    stroke(point, { straight = false }) {
      const { drawing } = this, to = ui.snap(point, this.size);
      if (!drawing) return;
      if (straight) {
        this.history.restart();
        this.view.redraw({ left: 0, top: 0, right: this.picture.width, bottom: this.picture.height });
        this.line(drawing.from, to);
      } else this.line(drawing.at, to);
      drawing.at = to;
    }

    endStroke() {
      if (!this.drawing) return;
      this.last = this.drawing.at;
      this.drawing = null;
      this.finish(Object.keys(this.layers));
    }

    /** Take back the stroke under way: it was the first of two fingers. */
    dropStroke() {
      if (!this.drawing) return;
      this.drawing = null;
      this.history.cancel();
      this.view.redraw();
      this.bar.update();
    }

    line(from, to) {
      const value = this.drawing.erasing ? { mask: 0, paint: 0 } : { mask: 255, paint: this.kind.colours ? colourOf(this.bar.colour.value) : 0 };
      for (const [name, layer] of Object.entries(this.layers)) layer.line(from, to, this.size, value[name]);
      const reach = this.size / 2 + 1;
      this.view.redraw({
        left: Math.max(0, Math.floor(Math.min(from.x, to.x) - reach)), top: Math.max(0, Math.floor(Math.min(from.y, to.y) - reach)),
        right: Math.min(this.picture.width, Math.ceil(Math.max(from.x, to.x) + reach)), bottom: Math.min(this.picture.height, Math.ceil(Math.max(from.y, to.y) + reach)),
      });
    }

    pick(point) {
      const x = Math.floor(point.x), y = Math.floor(point.y), { width, height } = this.picture;
      if (x < 0 || y < 0 || x >= width || y >= height) return;
      const context = make("canvas", { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
      context.drawImage(this.view.image, x, y, 1, 1, 0, 0, 1, 1);
      const painted = this.layers.paint.data[y * width + x];
      const [red, green, blue] = painted ? [painted & 255, (painted >> 8) & 255, (painted >> 16) & 255] : context.getImageData(0, 0, 1, 1).data;
      this.bar.colour.value = `#${[red, green, blue].map((part) => part.toString(16).padStart(2, "0")).join("")}`;
      this.say(`Colour ${this.bar.colour.value}`);
    }

    /** One change of layers as one step of the history. */
    step(act, names) {
      if (this.drawing) return;
      this.history.begin();
      act();
      this.finish(names);
    }

    finish(names) {
      if (this.history.commit()) this.sender.soon(...names);
      this.view.redraw();
      this.bar.update();
    }

    fill() { this.step(() => this.layers.mask.fill(255), ["mask"]); }
    invert() { this.step(() => this.layers.mask.invert(), ["mask"]); }
    clearLayers() { this.step(() => Object.values(this.layers).forEach((layer) => layer.fill(0)), Object.keys(this.layers)); }
    undo() { this.travel(() => this.history.undo(), "Undone"); }
    redo() { this.travel(() => this.history.redo(), "Redone"); }

    travel(act, said) {
      if (this.drawing) return;
      const before = this.history.place;
      act();
      if (this.history.place === before) return;
      this.sender.soon(...Object.keys(this.layers));
      this.say(said);
      this.view.redraw();
      this.bar.update();
    }

    // --- The whole screen

    toggleFull() {
      if (document.fullscreenElement === this.root) document.exitFullscreen();
      else if (this.isFull) this.setFull(false);
      // Phones that give the whole screen to videos only: the whole page then.
      else if (this.root.requestFullscreen) this.root.requestFullscreen().catch(() => this.setFull(true));
      else this.setFull(true);
    }

    setFull(on) {
      this.root.classList.toggle("full", on);
      this.bar.update();
    }
  }

  /** A stored picture, ready to be drawn; null when it cannot be had. */
  async function decode(hash) {
    const image = new Image();
    image.src = ui.address(`inputs/${hash}`);
    return image.decode().then(() => image, () => null);
  }

  async function fetchFile(address) {
    const answer = await fetch(address).catch(() => null);
    return answer?.ok ? answer.blob() : null;
  }

  /** "#rrggbb" as a canvas stores it. */
  function colourOf(text) {
    const [red, green, blue] = [1, 3, 5].map((place) => parseInt(text.slice(place, place + 2), 16));
    return (ui.COLOUR_OPAQUE | (blue << 16) | (green << 8) | red) >>> 0;
  }

  ui.CanvasEditor = Editor;
}
