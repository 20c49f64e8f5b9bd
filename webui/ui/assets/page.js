// The page as a whole: shortcuts, the form's memory, and small things every panel uses.
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

  /** 75 as "1:15", 8 as "8 s". */
  ui.duration = (seconds) => {
    const whole = Math.max(0, Math.round(seconds));
    return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
  };

  ui.setTitle = (prefix) => { document.title = prefix ? `(${prefix}) ${ui.facts.title}` : ui.facts.title; };

  const visible = (element) => Boolean(element && element.offsetParent !== null);
  const click = (id) => {
    const element = document.getElementById(id);
    if (!visible(element) || element.disabled) return false;
    element.click();
    return true;
  };

  document.addEventListener("keydown", (event) => {
    const busyWithEsc = document.querySelector("dialog[open]") || document.activeElement?.getAttribute("aria-expanded") === "true";
    let done = false;
    if (document.querySelector("dialog.sheet[open]")) return;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) done = click("txt2img_generate");
    else if (event.key === "Enter" && event.altKey) done = click("txt2img_skip");
    else if (event.key === "Escape" && !busyWithEsc) done = click("txt2img_interrupt");
    if (done) event.preventDefault();
  }, true);

  // The form's memory. Until the page has been restored, what the controls show is not the user's and is not kept.
  let restored = false;
  ui.pack = (names, stored, followed, values) =>
    restored ? { fields: Object.fromEntries(names.map((name, place) => [name, values[place]])), job: followed?.job ?? null } : stored;

  // Who generates before the form is restored means the restored form: its size is the checkpoint's, not the general default.
  const SETTLED = 150;
  let generateWhenRestored = false;
  document.addEventListener("click", (event) => {
    if (restored || !event.target.closest?.("#txt2img_generate")) return;
    generateWhenRestored = true;
    event.stopImmediatePropagation();
    event.preventDefault();
  }, true);

  ui.opened = () => {
    restored = true;
    if (generateWhenRestored) setTimeout(() => click("txt2img_generate"), SETTLED);
    nameThings();
    document.querySelector("#txt2img_styles input").placeholder = "Styles";
  };

  // What a section holds is made when it is first unfolded.
  const nameThings = () => {
    for (const [id, help] of Object.entries(ui.facts.help)) {
      const element = document.getElementById(id);
      if (element) element.title = help;
    }
    for (const button of document.querySelectorAll("button.icon-button")) button.title = button.textContent.trim();
  };
  document.addEventListener("click", (event) => { if (restored && event.target.closest?.("#txt2img_guidance > button")) setTimeout(nameThings, SETTLED); });
}
