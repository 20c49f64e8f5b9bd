// The dialog of a tab's presets: a form taken over, stored under a name, or made the tab's defaults.
"use strict";
{
  const ui = window.webui;
  const { make, makeButton } = ui;
  let presets = null;

  ui.addPresets = (server) => { presets = server; };

  /** What of a form is worth storing: no pictures, which belong to one job and not to a way of working. */
  const storable = (form) => Object.fromEntries(Object.entries(form).filter(([name, value]) =>
    name === "overrides" || value === null || typeof value !== "object" || (Array.isArray(value) && value.every((one) => typeof one === "string"))));

  const ask = (act, query) => presets[act](query).catch(() => ({ error: "The server does not answer; try again." }));

  ui.addTool("presets", async (tab) => {
    const notice = make("p", { className: "notice", hidden: true, attributes: { role: "alert" } });
    const said = make("p", { className: "note", attributes: { role: "status" } });
    const list = make("ul", { className: "preset-list" });
    const name = make("input", { type: "text", maxLength: 100, placeholder: "A name for the form as it is", autocomplete: "off", attributes: { "aria-label": "Name of the new preset" } });
    const forget = make("button", { type: "button", className: "tool", onclick: () => change("delete", { defaults: true }, "The program's own defaults count again.") }, "Forget the defaults");

    const show = (answer) => {
      notice.textContent = answer.error ?? "";
      notice.hidden = !answer.error;
      if (answer.error) return false;
      forget.hidden = !answer.defaults;
      list.replaceChildren(...answer.names.map((one) => make("li", {},
        make("button", { type: "button", className: "history-entry", onclick: () => take(one) }, one),
        makeButton(`Delete ${one}`, "clear", () => change("delete", { name: one }, `${one} is deleted.`), { className: "tool small icon-clear" }))));
      if (!answer.names.length) list.replaceChildren(make("li", { className: "note" }, "No presets yet."));
      return true;
    };
    const change = async (act, query, done) => {
      if (show(await ask(act, { tab, ...query }))) said.textContent = done;
    };
    const take = async (one) => {
      const answer = await ask("find", { tab, name: one });
      if (answer.error) return show(answer);
      dialog.close();
      ui.changeForm(tab, answer.fields);
    };
    const save = async (event) => {
      event.preventDefault();
      const fields = storable(await ui.readForm(tab)), called = name.value.trim();
      await change("save", { name: called, fields }, `${called} is stored.`);
      if (notice.hidden) name.value = "";
    };
    const asDefaults = async () => change("save", { defaults: true, fields: storable(await ui.readForm(tab)) }, `${tab} begins like this in every browser that has no form of its own.`);

    const dialog = make("dialog", { className: "sheet history presets", onclose: () => dialog.remove(), attributes: { "aria-labelledby": "presets_title" } },
      make("form", { onsubmit: save },
        make("h2", { id: "presets_title" }, `Presets of ${tab}`),
        make("div", { className: "sheet-body" }, notice, said, list, make("div", { className: "preset-new" }, name, make("button", { type: "submit", className: "tool primary" }, "Save"))),
        make("div", { className: "sheet-buttons" },
          make("button", { type: "button", className: "tool", onclick: asDefaults }, "Make these the defaults"), forget,
          make("button", { type: "button", className: "tool", onclick: () => dialog.close() }, "Close"))));
    document.querySelector(".gradio-container").append(dialog);
    show(await ask("listed", { tab }));
    dialog.showModal();
  });
}
