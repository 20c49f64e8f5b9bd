// Prompts used before, kept in this browser; and the button that clears the prompts, and puts them back.
"use strict";
{
  const ui = window.webui;
  const { make } = ui;
  const PLACE = "webui.history", MOST = 100;
  const read = () => {
    try {
      const kept = JSON.parse(localStorage.getItem(PLACE) ?? "[]");
      return Array.isArray(kept) ? kept.filter((one) => typeof one?.prompt === "string" && typeof one?.negative_prompt === "string") : [];
    } catch {
      return [];
    }
  };
  const promptsOf = (tab) => ({ prompt: ui.promptBox(tab, "prompt").value, negative_prompt: ui.promptBox(tab, "negative_prompt").value });
  const same = (one, other) => one.prompt === other.prompt && one.negative_prompt === other.negative_prompt;

  const remember = (tab) => {
    const used = promptsOf(tab);
    if (!used.prompt.trim() && !used.negative_prompt.trim()) return;
    try {
      localStorage.setItem(PLACE, JSON.stringify([used, ...read().filter((one) => !same(one, used))].slice(0, MOST)));
    } catch {
      // A full or forbidden storage must not stand in the way of drawing.
    }
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("button.generate");
    if (button && ui.isRestored()) remember(button.id.replace(/_generate$/, ""));
  }, true);

  ui.addTool("prompt_history", (tab) => {
    const list = make("ol", {});
    const search = make("input", { type: "search", placeholder: "Search", autocomplete: "off", attributes: { "aria-label": "Search the prompts used before" }, oninput: () => fill() });
    const entry = (one) => make("li", {}, make("button", { type: "button", className: "history-entry", onclick: () => {
      dialog.close();
      cleared.delete(tab);
      ui.changeForm(tab, one);
      ui.promptBox(tab, "prompt").focus();
    } }, make("span", {}, one.prompt || "(no prompt)"), make("small", {}, one.negative_prompt ? `without: ${one.negative_prompt}` : "")));
    const fill = () => {
      const sought = search.value.trim().toLowerCase();
      const found = read().filter(({ prompt, negative_prompt }) => `${prompt}\n${negative_prompt}`.toLowerCase().includes(sought));
      list.replaceChildren(...found.map(entry));
      none.textContent = found.length ? "" : sought ? "None of them has these words." : "Nothing has been drawn in this browser yet.";
    };
    const none = make("p", { className: "note", attributes: { role: "status" } });
    const dialog = make("dialog", { className: "sheet history", attributes: { "aria-labelledby": "history_title" }, onclose: () => dialog.remove() },
      make("form", { method: "dialog" },
        make("h2", { id: "history_title" }, "Prompts used before"),
        make("div", { className: "sheet-body" }, search, none, list),
        make("div", { className: "sheet-buttons" },
          make("button", { type: "button", className: "tool", onclick: () => { localStorage.removeItem(PLACE); fill(); } }, "Forget all"),
          make("button", { type: "submit", className: "tool" }, "Close"))));
    document.querySelector(".gradio-container").append(dialog);
    fill();
    dialog.showModal();
  });

  // What was cleared in each tab; it can be put back until something else is written.
  const cleared = new Map();
  const CLEAR = "Clear the prompts", UNDO = "Put the cleared prompts back";
  const showClear = (tab) => {
    const button = document.getElementById(`${tab}_clear_prompt`);
    if (!button) return;
    const undo = cleared.has(tab);
    button.textContent = button.title = undo ? UNDO : CLEAR;
    button.classList.toggle("icon-clear", !undo);
    button.classList.toggle("icon-undo", undo);
  };
  ui.addTool("clear_prompt", (tab) => {
    if (cleared.has(tab)) {
      ui.changeForm(tab, cleared.get(tab));
      cleared.delete(tab);
    } else {
      const now = promptsOf(tab);
      if (!now.prompt && !now.negative_prompt) return;
      cleared.set(tab, now);
      ui.changeForm(tab, { prompt: "", negative_prompt: "" });
    }
    showClear(tab);
  });
  document.addEventListener("input", (event) => {
    if (!ui.promptOfEvent(event)) return;
    const tab = ui.tabAround(event.target);
    if (cleared.delete(tab)) showClear(tab);
  });
}
