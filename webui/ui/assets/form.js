// The form as a whole: its values, which gradio alone knows, and what is set beside it, shown as chips that can be removed.
"use strict";
{
  const ui = window.webui;
  const { make } = ui;
  const readers = [];
  let changes = {}, wantedTab = null, overrides = null;

  /** All controls' values by name. */
  ui.readForm = () => new Promise((resolve) => {
    readers.push(resolve);
    overrides.events.read_form();
  });
  ui.formRead = (names, values) => {
    const form = Object.fromEntries(names.map((name, place) => [name, values[place]]));
    for (const resolve of readers.splice(0)) resolve(form);
  };

  /** Set these controls, by name. */
  ui.changeForm = (wanted) => {
    changes = { ...changes, ...wanted };
    overrides.events.change_form();
  };
  ui.formChanged = (names, values) => {
    const wanted = changes;
    changes = {};
    return names.map((name, place) => name in wanted ? wanted[name] : values[place]);
  };

  ui.showTab = (id) => {
    wantedTab = id;
    overrides.events.show_tab();
  };
  ui.tabWanted = () => ({ __type__: "update", selected: wantedTab });

  ui.addOverrides = (element, props, watch, events) => { overrides = new Overrides(element.querySelector(".chips"), props, watch, events); };

  class Overrides {
    constructor(root, props, watch, events) {
      Object.assign(this, { root, props, events });
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
          make("span", {}, `${title}: ${shown}`));
      });
    }

    remove(kind, name) {
      const kept = structuredClone(this.props.value);
      delete kept[kind][name];
      this.props.value = kept;
      this.show();
      (this.root.querySelector(".chip") ?? ui.promptBox("prompt")).focus();
    }
  }
}
