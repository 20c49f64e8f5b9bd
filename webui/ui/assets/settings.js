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
      this.file = make("input", { type: "file", accept: ".json,.csv,application/json,text/csv", hidden: true, id: "settings_import_file", onchange: () => this.take() });
      const bring = make("button", { type: "button", id: "settings_import", className: "tool", title: "config.json, ui-config.json or styles.csv", onclick: () => this.file.click() }, "Take over a file of A1111");
      const template = make("a", { className: "tool", id: "settings_localization_template", href: ui.address("internal/localization-template"), download: "localization.json" }, "Download localization template");
      this.said = make("p", { className: "note", attributes: { role: "status" } });
      this.notice = make("p", { className: "notice", hidden: true, attributes: { role: "alert" } });
      this.refused = make("details", { className: "settings-refused", hidden: true });
      this.nav = make("nav", { className: "settings-nav", attributes: { "aria-label": "Groups of settings" } });
      this.list = make("div", { className: "settings-list" });
      root.replaceChildren(
        make("div", { className: "settings-bar" }, this.search, make("label", { className: "tick" }, this.onlyChanged, "Only what differs from the default"), bring, this.file, template, this.discard, this.apply),
        this.notice, this.said, this.refused, make("div", { className: "settings-columns" }, this.nav, this.list));
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
      this.report({});
      ui.localization.then(({ problems }) => { if (problems.length) this.tell(problems.join(" ")); });
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
      const count = this.changes.size, otherWords = this.changes.has("localization");
      const answer = await this.server.change(Object.fromEntries(this.changes)).catch(() => ({ error: "The server does not answer; try again." }));
      if (answer.error) return this.tell(answer.error);
      if (otherWords) return location.reload();
      this.show(answer);
      ui.refreshPromptKeys();
      this.said.textContent = `${count} ${count === 1 ? "setting is" : "settings are"} applied.`;
    }

    async take() {
      const [file] = this.file.files;
      this.file.value = "";
      if (!file) return;
      const answer = await this.server.bring(await file.text()).catch(() => ({ error: "The server does not answer; try again." }));
      if (answer.error) return this.tell(answer.error);
      for (const [name, value] of Object.entries(answer.changes)) this.set(name, value);
      this.tell("");
      this.said.textContent = this.whatBecame(answer);
      this.report(answer.refused);
    }

    whatBecame({ kind, taken, same }) {
      const what = {
        styles: `${taken} ${taken === 1 ? "style is" : "styles are"} stored; reload the page to choose them.`,
        "ui-config": `${taken} ${taken === 1 ? "default is" : "defaults are"} stored in ui-config.json: values for browsers without a form of their own, ends and steps from the next start on.`,
        config: `${taken} ${taken === 1 ? "setting differs" : "settings differ"}; look and apply.`,
      }[kind];
      return same ? `${what} ${same === 1 ? "1 is as here anyway." : `${same} are as here anyway.`}` : what;
    }

    /** What was not taken, and why. */
    report(refused) {
      const rows = Object.entries(refused);
      this.refused.hidden = !rows.length;
      this.refused.replaceChildren(make("summary", {}, `${rows.length} not taken`),
        make("table", { className: "pairs-table" }, make("tbody", {}, ...rows.map(([name, why]) => make("tr", {}, make("th", { scope: "row", attributes: { "data-untranslated": "" } }, name), make("td", {}, why))))));
    }

    tell(text) {
      this.notice.textContent = text ?? "";
      this.notice.hidden = !text;
      this.said.textContent = "";
    }
  }

  const slug = (title) => title.toLowerCase().replace(/[^a-z0-9]+/g, "_");
}
