// The small buttons of a generation tab, by the end of their ids. gradio need not know of them: each listener of its costs time when the page opens.
"use strict";
{
  const ui = window.webui;
  const tools = new Map();

  /** What the button of that name does.  act: is given the tab. */
  ui.addTool = (name, act) => tools.set(name, act);

  document.addEventListener("click", (event) => {
    const id = event.target.closest?.("button[id]")?.id;
    if (!id || !ui.isRestored()) return;
    // A1111's id of the first tab's button for pasting.
    const [tab, name] = id === "paste" ? ["txt2img", id] : ui.facts.tabs.filter((one) => id.startsWith(`${one}_`)).map((one) => [one, id.slice(one.length + 1)])[0] ?? [];
    tools.get(name)?.(tab);
  });

  ui.addTool("res_switch_btn", async (tab) => {
    const { width, height } = await ui.readForm(tab);
    ui.changeForm(tab, { width: height, height: width });
  });
  for (const name of ["seed", "subseed"]) {
    ui.addTool(`random_${name}`, (tab) => ui.changeForm(tab, { [name]: "-1" }));
    ui.addTool(`reuse_${name}`, (tab) => {
      const value = ui.selectedPicture(tab)?.[name];
      if (value !== undefined) ui.changeForm(tab, { [name]: value });
    });
  }
}
