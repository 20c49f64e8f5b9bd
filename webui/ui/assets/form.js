// A tab's form as a whole: its values, which gradio alone knows, and what is set beside it, shown as chips that can be removed.
"use strict";
{
  const ui = window.webui;
  const { make } = ui;

  /** All controls' values of a tab, by name. The tab has been opened. */
  ui.readForm = (tab) => new Promise((resolve) => {
    const { overrides } = ui.tab(tab);
    overrides.readers.push(resolve);
    overrides.events.read_form();
  });
  ui.formRead = (tab, names, values) => {
    const form = Object.fromEntries(names.map((name, place) => [name, values[place]]));
    for (const resolve of ui.tab(tab).overrides.readers.splice(0)) resolve(form);
  };

  /** Set these controls of a tab, by name. */
  ui.changeForm = (tab, wanted) => {
    const { overrides } = ui.tab(tab);
    overrides.changes = { ...overrides.changes, ...wanted };
    overrides.events.change_form();
    ui.touched(tab);
  };
  ui.formChanged = (tab, names, values) => {
    const { overrides } = ui.tab(tab);
    const wanted = overrides.changes;
    overrides.changes = {};
    return names.map((name, place) => name in wanted ? wanted[name] : values[place]);
  };

  ui.addOverrides = (tab, element, props, watch, events) => {
    ui.tab(tab).overrides = new Overrides(tab, element.querySelector(".chips"), props, watch, events);
  };

  class Overrides {
    constructor(tab, root, props, watch, events) {
      Object.assign(this, { tab, root, props, events, readers: [], changes: {} });
      watch("value", () => this.show());
      this.show();
    }

    show() {
      const { settings = {}, request = {} } = this.props.value ?? {};
      this.root.replaceChildren(...this.chips("settings", settings), ...this.chips("request", request));
    }

    chips(kind, values) {
      return Object.entries(values).map(([name, value]) => {
        const title = ui.facts.titles[kind][name] ?? name;
        const shown = value === true ? "on" : value === false ? "off" : String(value);
        return make("button", { type: "button", className: "chip icon-cancel", title: `Remove: ${title}`, onclick: () => this.remove(kind, name) },
          make("span", {}, title, `: ${shown}`));
      });
    }

    remove(kind, name) {
      const kept = structuredClone(this.props.value);
      delete kept[kind][name];
      this.props.value = kept;
      this.show();
      (this.root.querySelector(".chip") ?? ui.promptBox(this.tab, "prompt")).focus();
    }
  }
}
