// The buttons and sliders of an editor.
"use strict";
{
  const ui = window.webui;
  const { make, makeButton } = ui;
  // Sizes double with each step of the slider: a brush of 3 needs as much room on it as one of 300.
  const LARGEST_STEP = 10;
  const STRONG = 0.6;

  /** An icon with its name as tooltip and for screen readers. */
  const tool = (name, icon, keys, onclick, properties = {}) =>
    makeButton(name, icon, onclick, { className: `tool small icon-${icon}`, title: keys ? `${name} (${keys})` : name, ...properties });

  class Bar {
    /** editor: what the buttons act on.   kind: which of them there are. */
    constructor(editor, { mask, colours }) {
      Object.assign(this, { editor, tools: {} });
      this.drawing = this.group("Drawing", mask || colours, ...this.makeTools(colours), ...this.makeHistory());
      this.size = this.slider("Brush size", { min: 0, max: LARGEST_STEP, step: 0.01 }, (value) => editor.setSize(Math.round(2 ** value)));
      // A step of the slider is less than a pixel where the brush is small.
      this.size.input.onkeydown = (event) => {
        const way = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
        if (!way) return;
        event.preventDefault();
        editor.stepSize(way);
      };
      this.opacity = this.slider("Mask opacity", { min: 0.1, max: 1, step: 0.05, value: STRONG }, (value) => editor.setOpacity(value));
      this.opacity.label.hidden = !mask;
      this.sliders = make("div", { className: "canvas-sliders", hidden: !(mask || colours) }, this.size.label, this.opacity.label);
      this.whole = this.group(mask ? "Mask" : "Paint", mask || colours,
        ...(mask ? [
          tool("Mask all", "fill", "", () => editor.fill()),
          tool("Invert mask", "invert", "", () => editor.invert()),
        ] : []),
        tool(colours && !mask ? "Remove all paint" : colours ? "Clear mask and paint" : "Clear mask", "clear", "Delete", () => editor.clearLayers()),
        ...(mask ? [
          tool("Upload a mask", "upload", "", () => this.maskInput.click()),
          tool("Download the mask", "download", "", () => editor.downloadMask()),
        ] : []));
      this.zoom = make("output", { className: "canvas-zoom" });
      this.viewing = this.group("View", true,
        tool("Zoom out", "minus", "-", () => editor.zoomBy(1 / 1.25)), this.zoom, tool("Zoom in", "plus", "+", () => editor.zoomBy(1.25)),
        tool("Fit the whole picture", "fit", "0", () => editor.view.fit()), tool("One to one", "one", "1", () => editor.view.zoom(1)),
        this.full = tool("Full screen", "full", "F", () => editor.toggleFull()));
      this.picture = this.group("Picture", true,
        tool("Choose another picture", "picture", "", () => this.pictureInput.click()), tool("Remove the picture", "cancel", "", () => editor.clear()));
      this.pictureInput = this.fileInput("picture", (file) => editor.load(file));
      this.maskInput = this.fileInput("mask", (file) => editor.loadMask(file));
      this.top = make("div", { className: "canvas-bar" }, this.drawing, this.sliders);
      this.bottom = make("div", { className: "canvas-bar" }, this.whole, this.viewing, this.pictureInput, this.maskInput);
    }

    group(name, shown, ...buttons) {
      return make("div", { className: "canvas-group", hidden: !shown, attributes: { role: "group", "aria-label": name } }, ...buttons);
    }

    makeTools(colours) {
      const { editor } = this;
      const choice = (name, icon, key) => {
        this.tools[icon] = tool(name, icon, key, () => editor.setTool(icon));
        return this.tools[icon];
      };
      this.colour = make("input", { type: "color", value: "#d92626", title: "Colour", attributes: { "aria-label": "Colour" } });
      const colour = [choice("Pick a colour from the picture", "pipette", "I"), make("label", { className: "canvas-colour" }, this.colour)];
      return [choice("Brush", "brush", "B"), choice("Eraser", "eraser", "E"), ...(colours ? colour : [])];
    }

    makeHistory() {
      this.undo = tool("Undo", "undo", "Ctrl+Z", () => this.editor.undo());
      this.redo = tool("Redo", "redo", "Ctrl+Shift+Z", () => this.editor.redo());
      return [this.undo, this.redo];
    }

    slider(name, range, onchange) {
      const input = make("input", { type: "range", attributes: { "aria-label": name } });
      Object.assign(input, range, { oninput: () => onchange(Number(input.value)) });
      const shown = make("output");
      return { input, shown, label: make("label", {}, make("span", {}, name), input, shown) };
    }

    fileInput(kind, take) {
      const input = make("input", { type: "file", accept: "image/*", className: `canvas-file ${kind}-file`, tabIndex: -1, attributes: { "aria-hidden": "true" } });
      input.onchange = () => {
        const [file] = input.files;
        input.value = "";
        if (file) take(file);
      };
      return input;
    }

    /** Show the editor's state. */
    update() {
      const { editor } = this, { history, view } = editor;
      for (const part of [this.top, this.bottom, this.picture]) part.hidden = !editor.picture;
      for (const [name, button] of Object.entries(this.tools)) button.setAttribute("aria-pressed", name === editor.tool);
      this.undo.disabled = !history?.canUndo;
      this.redo.disabled = !history?.canRedo;
      this.size.input.value = Math.log2(editor.size);
      for (const { input } of [this.size, this.opacity]) input.style.setProperty("--range_progress", `${((input.value - input.min) / (input.max - input.min)) * 100}%`);
      this.size.shown.textContent = `${editor.size} px`;
      this.size.input.setAttribute("aria-valuetext", this.size.shown.textContent);
      this.opacity.shown.textContent = `${Math.round(this.opacity.input.value * 100)} %`;
      this.zoom.textContent = `${Math.round(view.scale * 100)} %`;
      this.full.setAttribute("aria-pressed", editor.isFull);
    }
  }

  ui.CanvasBar = Bar;
}
