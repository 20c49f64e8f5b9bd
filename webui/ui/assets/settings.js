// The Settings tab: changes are gathered, marked, and applied together.
"use strict";
{
  const ui = window.webui;
  const { make, makeButton } = ui;
  const same = (one, other) => String(one) === String(other);

  /** A control for a declared parameter, and what it holds. */
  ui.controlFor = ({ kind, value, minimum, maximum, step, choices }, changed, none = "(the first)") => {
    if (kind === "tick") return make("input", { type: "checkbox", checked: value, onchange: changed });
    if (kind === "choice") {
      const offered = choices.includes(value) ? choices : [value, ...choices];
      const select = make("select", { onchange: changed }, ...offered.map((one) => make("option", { value: one }, one === "" ? none : one)));
      select.value = value;
      return select;
    }
    if (kind === "number") return make("input", { type: "number", value, step, ...(minimum === null ? {} : { min: minimum }), ...(maximum === null ? {} : { max: maximum }), oninput: changed });
    return make("input", { type: "text", value, autocomplete: "off", spellcheck: false, oninput: changed });
  };
  ui.valueOf = ({ kind }, input) => kind === "tick" ? input.checked : kind !== "number" ? input.value : input.value === "" ? null : Number(input.value);

  ui.addSettings = (element, server) => new SettingsPanel(element.querySelector(".settings"), server);

  class SettingsPanel {
    constructor(root, server) {
      Object.assign(this, { root, server, rows: new Map(), changes: new Map() });
      this.search = make("input", { type: "search", id: "settings_search", placeholder: "Search settings", autocomplete: "off", attributes: { "aria-label": "Search settings" }, oninput: () => this.filter() });
      this.onlyChanged = make("input", { type: "checkbox", id: "settings_only_changed", onchange: () => this.filter() });
      this.apply = make("button", { type: "button", id: "settings_submit", className: "tool primary", onclick: () => this.send() }, "Apply settings");
      this.discard = make("button", { type: "button", id: "settings_discard", className: "tool", onclick: () => this.begin() }, "Discard");
      this.file = make("input", { type: "file", accept: ".json,application/json", hidden: true, id: "settings_import_file", onchange: () => this.take() });
      const bring = make("button", { type: "button", id: "settings_import", className: "tool", onclick: () => this.file.click() }, "Take over an A1111 config.json");
      this.said = make("p", { className: "note", attributes: { role: "status" } });
      this.notice = make("p", { className: "notice", hidden: true, attributes: { role: "alert" } });
      this.nav = make("nav", { className: "settings-nav", attributes: { "aria-label": "Groups of settings" } });
      this.list = make("div", { className: "settings-list" });
      root.replaceChildren(
        make("div", { className: "settings-bar" }, this.search, make("label", { className: "tick" }, this.onlyChanged, "Only what differs from the default"), bring, this.file, this.discard, this.apply),
        this.notice, this.said, make("div", { className: "settings-columns" }, this.nav, this.list));
      // What another page has changed is seen when the tab is opened again.
      new IntersectionObserver(([entry]) => { if (entry.isIntersecting && !this.changes.size) this.begin(); }).observe(root);
    }

    async begin() {
      const answer = await this.server.list_settings(null).catch(() => null);
      if (answer) this.show(answer);
      else this.tell("The server does not answer; try again.");
    }

    show({ sections }) {
      this.rows.clear();
      this.changes.clear();
      this.tell("");
      this.list.replaceChildren(...sections.map(({ title, settings }) => make("section", { className: "settings-group", id: `settings_${slug(title)}` },
        make("h2", {}, title), ...settings.map((setting) => this.row(setting)))));
      this.nav.replaceChildren(...sections.map(({ title }) => make("a", { href: `#settings_${slug(title)}`, onclick: (event) => { event.preventDefault(); document.getElementById(`settings_${slug(title)}`).scrollIntoView({ behavior: "smooth" }); } }, title)));
      this.filter();
    }

    row(setting) {
      const input = ui.controlFor(setting, () => this.changed(setting.name));
      input.id = `setting_${setting.name}_input`;
      const back = makeButton(`Back to the default: ${setting.title}`, "reuse", () => this.set(setting.name, setting.default), { className: "tool small icon-reuse back" });
      const help = [setting.help, setting.locked && "Given on the command line; a change lasts until the next start."].filter(Boolean).join(" ");
      const row = make("div", { className: "setting", id: `setting_${setting.name}_row`, attributes: { "data-name": setting.name } },
        make("div", { className: "setting-text" }, make("label", { htmlFor: input.id }, setting.title), make("p", { className: "note" }, help)),
        make("div", { className: "setting-control" }, input, back));
      this.rows.set(setting.name, { setting, input, row, back });
      this.mark(setting.name);
      return row;
    }

    changed(name) {
      const one = this.rows.get(name), value = ui.valueOf(one.setting, one.input);
      this.said.textContent = "";
      if (same(value, one.setting.value)) this.changes.delete(name);
      else this.changes.set(name, value);
      this.mark(name);
    }

    set(name, value) {
      const { setting, input } = this.rows.get(name);
      if (setting.kind === "tick") input.checked = value;
      else {
        if (setting.kind === "choice" && ![...input.options].some((option) => option.value === value)) input.append(make("option", { value }, value));
        input.value = value;
      }
      this.changed(name);
    }

    mark(name) {
      const { setting, row, back, input } = this.rows.get(name);
      row.classList.toggle("unsaved", this.changes.has(name));
      row.classList.toggle("differs", !same(ui.valueOf(setting, input), setting.default));
      back.hidden = same(ui.valueOf(setting, input), setting.default);
      const count = this.changes.size;
      this.apply.disabled = this.discard.disabled = !count;
      this.apply.textContent = count ? `Apply settings (${count})` : "Apply settings";
    }

    filter() {
      const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const { setting, row } of this.rows.values()) {
        const text = `${setting.name} ${setting.title} ${setting.help}`.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word)) || (this.onlyChanged.checked && !row.classList.contains("differs"));
      }
      for (const group of this.list.children) group.hidden = ![...group.querySelectorAll(".setting")].some((row) => !row.hidden);
    }

    async send() {
      const count = this.changes.size;
      const answer = await this.server.change(Object.fromEntries(this.changes)).catch(() => ({ error: "The server does not answer; try again." }));
      if (answer.error) return this.tell(answer.error);
      this.show(answer);
      ui.refreshPromptKeys();
      this.said.textContent = `${count} ${count === 1 ? "setting is" : "settings are"} applied.`;
    }

    async take() {
      const [file] = this.file.files;
      this.file.value = "";
      if (!file) return;
      const answer = await this.server.read_config(await file.text()).catch(() => ({ error: "The server does not answer; try again." }));
      if (answer.error) return this.tell(answer.error);
      for (const [name, value] of Object.entries(answer.changes)) this.set(name, value);
      const refused = Object.values(answer.refused);
      const unknown = answer.unknown ? `${answer.unknown} others of that file are not known here.` : "";
      this.tell(refused.join(" "));
      this.said.textContent = [`${this.changes.size} ${this.changes.size === 1 ? "setting differs" : "settings differ"}; look and apply.`, unknown].filter(Boolean).join(" ");
    }

    tell(text) {
      this.notice.textContent = text ?? "";
      this.notice.hidden = !text;
      this.said.textContent = "";
    }
  }

  const slug = (title) => title.toLowerCase().replace(/[^a-z0-9]+/g, "_");
}
