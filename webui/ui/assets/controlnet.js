// ControlNet's units: their pictures, what the preprocessors make of these, and their numbers. The panel's value is the list of units.
"use strict";
{
  const ui = window.webui;
  const { make, makeButton } = ui;
  const NO_ANSWER = { error: "The server does not answer; try again." };
  const NUMBERS = ["processor_res", "threshold_a", "threshold_b"];

  ui.addControlNet = (element, props, watch, server, tab) => new ControlNet(element.querySelector(".controlnet"), props, watch, server, tab);

  class ControlNet {
    constructor(root, props, watch, server, tab) {
      Object.assign(this, { root, props, server, tab, panels: [], chosen: 0, echoes: new ui.Echoes() });
      this.title = make("span", {}, "ControlNet");
      this.body = make("div", { className: "controlnet-body" });
      root.replaceChildren(make("summary", {}, this.title), this.body);
      root.addEventListener("toggle", () => root.open && this.prepare());
      watch("value", () => this.take());
      this.take();
    }

    /** The value was set from outside: by a paste, or by the form's memory. */
    take() {
      const value = Array.isArray(this.props.value) ? this.props.value : [];
      const text = JSON.stringify(value);
      if (this.echoes.take(text) || this.written === text) return;
      this.units = structuredClone(value);
      this.showTitle();
      if (this.choices) this.show();
    }

    keep() {
      this.written = JSON.stringify(this.units);
      this.echoes.write(this.written);
      this.props.value = structuredClone(this.units);
      this.showTitle();
    }

    showTitle() {
      const active = this.units.filter((unit) => unit.enabled).length;
      this.title.textContent = active ? `ControlNet: ${active} ${active === 1 ? "unit" : "units"} on` : "ControlNet";
    }

    async prepare(refresh = false) {
      if (this.choices && !refresh) return;
      const choices = await this.server.offer({ refresh }).catch(() => null);
      if (!choices) {
        this.body.replaceChildren(make("p", { className: "notice", attributes: { role: "alert" } }, NO_ANSWER.error));
        return;
      }
      this.choices = choices;
      this.show();
    }

    show() {
      const count = Math.max(this.choices.count, this.units.length);
      while (this.units.length < count) this.units.push({});
      this.units = this.units.map((unit) => ({ ...this.choices.blank, ...unit }));
      this.panels = this.units.map((unit, number) => new Unit(this, unit, number));
      this.tabs = this.panels.map((panel, number) => make("button", { type: "button", id: `${this.tab}_controlnet_tab_${number}`, onclick: () => this.choose(number),
        attributes: { role: "tab", "aria-controls": panel.root.id } }));
      this.body.replaceChildren(make("div", { className: "controlnet-tabs", attributes: { role: "tablist", "aria-label": "ControlNet units" } }, ...this.tabs),
        ...this.panels.map(({ root }) => root));
      this.choose(Math.min(this.chosen, count - 1));
    }

    choose(number) {
      this.chosen = number;
      this.panels.forEach(({ root }, place) => { root.hidden = place !== number; });
      this.mark();
    }

    mark() {
      this.tabs.forEach((tab, place) => {
        tab.textContent = `Unit ${place}${this.units[place].enabled ? " •" : ""}`;
        tab.setAttribute("aria-selected", String(place === this.chosen));
      });
    }

    /** The size that is drawn, for what must fit it. */
    size() {
      const number = (name) => Number(document.querySelector(`#${this.tab}_${name} input[type=number]`)?.value) || undefined;
      return { width: number("width"), height: number("height") };
    }
  }

  class Unit {
    constructor(owner, unit, number) {
      Object.assign(this, { owner, unit, number });
      const { choices, tab } = owner;
      this.prefix = `${tab}_controlnet_${number}`;
      this.rows = {};
      this.notice = make("p", { className: "notice", hidden: true, attributes: { role: "alert" } });
      this.image = new Well(this, "image", "Drop a picture here, or choose one");
      this.mask = new Well(this, "mask", "Drop its mask here: white is drawn anew");
      this.result = make("img", { alt: "What the preprocessor makes of it", id: `${this.prefix}_result`, hidden: true });
      this.run = make("button", { type: "button", className: "tool", id: `${this.prefix}_preview`, onclick: () => this.preview() }, "Preview");
      this.run.title = "Show what the preprocessor makes of the picture";
      this.models = this.select("model", choices.models.map((name) => [name, name]));
      const refresh = makeButton("Look for control models again", "refresh", () => owner.prepare(true), { className: "tool small icon-refresh", id: `${this.prefix}_refresh` });
      const modules = choices.modules.map(({ label }) => [label, label]);
      this.root = make("div", { className: "controlnet-unit", id: this.prefix, attributes: { role: "tabpanel" } },
        make("div", { className: "controlnet-pictures" }, this.image.root, this.mask.root, make("div", { className: "controlnet-result" }, this.result)),
        make("div", { className: "controlnet-row ticks" }, this.tick("enabled"), this.tick("pixel_perfect"), this.run),
        this.notice,
        make("div", { className: "controlnet-row" }, this.select("module", modules), make("div", { className: "controlnet-model" }, this.models, refresh)),
        ...(choices.models.length > 1 ? [] : [make("p", { className: "note" }, "There is no control model yet. Put one into models/ControlNet and refresh.")]),
        ...(choices.broken.length ? [make("details", {}, make("summary", {}, "Files that cannot be used"), make("ul", {}, ...choices.broken.map((text) => make("li", {}, text))))] : []),
        make("div", { className: "controlnet-row" }, this.slider("weight"), this.slider("guidance_start"), this.slider("guidance_end")),
        make("div", { className: "controlnet-row" }, ...NUMBERS.map((name) => this.slider(name))),
        make("div", { className: "controlnet-row" }, ...["control_mode", "resize_mode", "hr_option"].map((name) => this.select(name, choices.fields[name].choices.map((one) => [one, one])))));
      this.fit();
    }

    get module() { return this.owner.choices.modules.find(({ label }) => label === this.unit.module) ?? this.owner.choices.modules[0]; }

    set(name, value) {
      this.unit[name] = value;
      if (name === "module") for (const number of NUMBERS) this.unit[number] = -1;
      // The end cannot come before the start.
      if (name === "guidance_start") this.unit.guidance_end = Math.max(this.unit.guidance_end, value);
      if (name === "guidance_end") this.unit.guidance_start = Math.min(this.unit.guidance_start, value);
      this.fit();
      this.owner.keep();
      this.owner.mark();
    }

    /** Show what the preprocessor needs, and no more. */
    fit() {
      this.mask.root.hidden = !this.module.mask;
      NUMBERS.forEach((name, place) => {
        const number = this.module.numbers[place];
        const row = this.rows[name];
        row.root.hidden = !number || (name === "processor_res" && this.unit.pixel_perfect);
        if (!number) return;
        row.label.textContent = number.label;
        for (const input of row.inputs) Object.assign(input, { min: number.minimum, max: number.maximum, step: number.step });
        const value = this.unit[name] === -1 ? number.value : this.unit[name];
        for (const input of row.inputs) input.value = value;
      });
      for (const name of ["guidance_start", "guidance_end"]) for (const input of this.rows[name].inputs) input.value = this.unit[name];
    }

    field(name, control, ...more) {
      const { title, help } = this.owner.choices.fields[name];
      const label = make("span", {}, title);
      const root = make("label", { className: "controlnet-field", title: help }, label, control, ...more);
      this.rows[name] = { root, label, inputs: [control, ...more].filter((one) => one.tagName === "INPUT") };
      return root;
    }

    tick(name) {
      const { title, help } = this.owner.choices.fields[name];
      const input = make("input", { type: "checkbox", id: `${this.prefix}_${name}`, checked: this.unit[name], onchange: () => this.set(name, input.checked) });
      return make("label", { className: "controlnet-tick", title: help }, input, make("span", {}, title));
    }

    select(name, options) {
      const known = options.some(([value]) => value === this.unit[name]);
      const shown = known ? options : [...options, [this.unit[name], `${this.unit[name]} (not here)`]];
      const input = make("select", { id: `${this.prefix}_${name}`, onchange: () => this.set(name, input.value) },
        ...shown.map(([value, text]) => make("option", { value, selected: value === this.unit[name] }, text)));
      return this.field(name, input);
    }

    slider(name) {
      const { minimum, maximum, step } = this.owner.choices.fields[name];
      const limits = { min: minimum ?? 0, max: maximum ?? 1, step: step ?? 0.01 };
      const number = make("input", { type: "number", id: `${this.prefix}_${name}`, ...limits });
      const range = make("input", { type: "range", tabIndex: -1, ...limits, attributes: { "aria-hidden": "true" } });
      const take = (value) => {
        if (value === "" || Number.isNaN(Number(value))) return;
        const bounded = Math.min(Number(number.max), Math.max(Number(number.min), Number(value)));
        number.value = range.value = bounded;
        this.set(name, bounded);
      };
      number.onchange = () => take(number.value);
      number.oninput = () => {
        // Kept while it is typed; put between its bounds when it is finished.
        if (number.value === "" || !number.checkValidity()) return;
        this.unit[name] = Number(number.value);
        this.owner.keep();
      };
      range.oninput = () => { number.value = range.value; };
      range.onchange = () => take(range.value);
      number.value = range.value = this.unit[name];
      return this.field(name, number, range);
    }

    tell(message) {
      this.notice.textContent = message ?? "";
      this.notice.hidden = !message;
    }

    async preview() {
      this.run.disabled = true;
      const answer = await this.owner.server.annotate({ unit: { ...this.unit, enabled: true }, ...this.owner.size() }).catch(() => NO_ANSWER);
      this.run.disabled = false;
      this.tell(answer.error ?? answer.remarks?.join(" "));
      this.result.hidden = Boolean(answer.error);
      if (!answer.error) Object.assign(this.result, { src: answer.shown, title: `${answer.width}x${answer.height}` });
    }
  }

  /** A place for one picture of a unit. */
  class Well {
    constructor(unit, name, hint) {
      Object.assign(this, { unit, name });
      this.input = make("input", { type: "file", id: `${unit.prefix}_${name}`, accept: "image/*", onchange: () => this.choose(),
        attributes: { "aria-label": name === "mask" ? "Choose its mask" : "Choose the picture to follow" } });
      this.picture = make("img", { alt: name === "mask" ? "The mask" : "The picture to follow", hidden: true });
      this.hint = make("span", { className: "hint" }, hint);
      this.remove = makeButton(name === "mask" ? "Remove the mask" : "Remove the picture", "cancel", (event) => { event.preventDefault(); this.clear(); },
        { className: "tool small icon-cancel", hidden: true });
      this.root = make("label", { className: "picture-well" }, this.input, this.picture, this.hint, this.remove);
      this.root.addEventListener("dragover", (event) => { event.preventDefault(); this.root.classList.add("dropping"); });
      this.root.addEventListener("dragleave", () => this.root.classList.remove("dropping"));
      this.root.addEventListener("drop", (event) => {
        event.preventDefault();
        event.stopPropagation();
        this.root.classList.remove("dropping");
        const file = event.dataTransfer?.files?.[0];
        if (file) this.take(file);
      });
      if (unit.unit[name]) this.restore();
    }

    choose() {
      const [file] = this.input.files;
      this.input.value = "";
      if (file) this.take(file);
    }

    async take(file) {
      const upload = ui.upload(file);
      const answer = upload ? await this.unit.owner.server.add_picture(upload).catch(() => NO_ANSWER) : { error: ui.tooLarge(file) };
      this.unit.tell(answer.error);
      if (answer.error) return;
      this.show(answer.shown);
      this.unit.set(this.name, answer.picture);
    }

    async restore() {
      const answer = await this.unit.owner.server.show_picture({ picture: this.unit.unit[this.name] }).catch(() => NO_ANSWER);
      this.unit.tell(answer.error);
      if (!answer.error) this.show(answer.shown);
    }

    show(address) {
      Object.assign(this.picture, { src: address, hidden: false });
      this.hint.hidden = true;
      this.remove.hidden = false;
    }

    clear() {
      this.picture.hidden = true;
      this.hint.hidden = false;
      this.remove.hidden = true;
      this.unit.result.hidden = true;
      if (this.name === "image" && this.unit.unit.mask) this.unit.mask.clear();
      this.unit.set(this.name, "");
    }
  }
}
