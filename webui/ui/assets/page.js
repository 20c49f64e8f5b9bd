// The page as a whole: shortcuts, and small things every panel uses.
"use strict";
{
  const ui = window.webui;
  const asked = new URL(window.location).searchParams.get("__theme");
  if (ui.facts.scheme && !asked) document.body.classList.toggle("dark", ui.facts.scheme === "dark");

  /** An address under the page's own path, which a proxy in front may have moved: "/sd/pictures/..." */
  const root = new URL(window.gradio_config?.root || "/", window.location).pathname.replace(/\/$/, "");
  ui.address = (path) => `${root}/${path}`;

  /** Make an element: make("p", {className: "note"}, "text", child, ...). Strings become text nodes, never markup. */
  ui.make = (tag, { attributes = {}, ...properties } = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };

  /** A button with an icon and a name. */
  ui.makeButton = (name, icon, onclick, properties = {}) =>
    ui.make("button", { type: "button", className: `tool icon-${icon}`, title: name, onclick, ...properties }, ui.make("span", {}, name));

  /** Tells a component's own writes, which gradio gives back (late on a busy machine), from changes that come from outside. */
  ui.Echoes = class {
    constructor() { this.own = []; }

    /** Note a value before it is written. */
    write(text) { this.own = [...this.recent(), { text, at: performance.now() }]; }

    /** Whether this value is one of ours come back; older ones are then not waited for any more. */
    take(text) {
      const own = this.recent(), place = own.findIndex((one) => one.text === text);
      this.own = own.slice(place + 1);
      return place >= 0;
    }

    recent() { return this.own.filter(({ at }) => performance.now() - at < 10000); }
  };

  /** 75 as "1:15", 8 as "8 s". */
  ui.duration = (seconds) => {
    const whole = Math.max(0, Math.round(seconds));
    return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
  };

  // What the scripts know of each generation tab: its results panel and its overrides, from when it is first opened on.
  const tabs = new Map();
  ui.tab = (id) => {
    if (!tabs.has(id)) tabs.set(id, { id });
    return tabs.get(id);
  };
  ui.tabAround = (element) => element.closest("[id^=tab_]").id.slice("tab_".length);

  const titles = new Map();
  ui.setTitle = (tab, prefix) => {
    titles.set(tab, prefix);
    const [first] = [...titles.values()].filter(Boolean);
    document.title = first ? `(${first}) ${ui.facts.title}` : ui.facts.title;
  };

  let wantedTab = null;
  ui.addPageEvents = (events) => { ui.pageEvents = events; };
  ui.showTab = (id) => {
    wantedTab = id;
    ui.pageEvents.show_tab();
    setTimeout(nameThings, SETTLED);
  };
  ui.tabWanted = () => ({ __type__: "update", selected: wantedTab });

  /** Wait until something is there; what a tab holds is made when it is first opened. */
  ui.until = (find) => new Promise((resolve) => {
    const look = () => {
      const found = find();
      if (found) resolve(found);
      else setTimeout(look, 30);
    };
    look();
  });

  const visible = (element) => Boolean(element && element.offsetParent !== null);
  const click = (id) => {
    const element = document.getElementById(id);
    if (!visible(element) || element.disabled) return false;
    element.click();
    return true;
  };

  // The generation tab in front.
  const clickShown = (name) => ui.facts.tabs.some((tab) => click(`${tab}_${name}`));

  document.addEventListener("keydown", (event) => {
    const busyWithEsc = ui.isCompleting() || document.querySelector("dialog[open]") || document.activeElement?.getAttribute("aria-expanded") === "true";
    let done = false;
    if (document.querySelector("dialog.sheet[open]")) return;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) done = clickShown("generate");
    else if (event.key === "Enter" && event.altKey) done = clickShown("skip");
    else if (event.key === "Escape" && !busyWithEsc) done = clickShown("interrupt");
    if (done) event.preventDefault();
  }, true);

  let restored = false;
  ui.isRestored = () => restored;

  // Who generates before the form is restored means the restored form: its size is the checkpoint's, not the general default.
  const SETTLED = 150;
  let generateWhenRestored = null;
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("button.generate");
    if (restored || !button) return;
    generateWhenRestored = button.id;
    event.stopImmediatePropagation();
    event.preventDefault();
  }, true);

  ui.opened = () => {
    restored = true;
    for (const tab of ui.facts.tabs) if (ui.tab(tab).results) ui.touched(tab);
    if (generateWhenRestored) setTimeout(() => click(generateWhenRestored), SETTLED);
    nameThings();
  };

  const helpOf = (id) => {
    const tab = ui.facts.tabs.find((one) => id.startsWith(`${one}_`));
    return tab && ui.facts.help[id.slice(tab.length + 1)];
  };
  const nameThings = () => {
    for (const element of document.querySelectorAll("[id]")) if (!element.title) element.title = helpOf(element.id) ?? "";
    for (const button of document.querySelectorAll("button.icon-button")) button.title = button.textContent.trim();
    for (const input of document.querySelectorAll(".styles-choice input")) input.placeholder = "Styles";
  };
  // What a tab or a folded section holds is made when it is first opened.
  document.addEventListener("click", (event) => {
    if (restored && event.target.closest?.("[role=tab], .label-wrap")) setTimeout(nameThings, SETTLED);
  });
}
