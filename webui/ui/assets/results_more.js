// More that can be done with a finished picture: draw it again or varied, compare it, throw it away.
"use strict";
{
  const ui = window.webui;
  const { makeButton } = ui;
  const SURE = 3000;
  const wanted = { picture: null, vary: false };

  ui.pictureToRedraw = (followed) => ({ ...followed, ...wanted });

  const redraw = (panel, vary) => {
    Object.assign(wanted, { picture: panel.selected().id, vary });
    panel.events.redraw();
  };

  const throwAway = async (panel, button) => {
    if (button.classList.toggle("sure")) {
      button.firstChild.textContent = "Click again to delete";
      button.doubt = setTimeout(() => calm(button), SURE);
      return;
    }
    calm(button);
    const { id } = panel.selected();
    const answer = await panel.server.throw_away({ picture: id }).catch(() => ({ error: "The server does not answer; try again." }));
    panel.tell(answer.error);
    if (answer.error) return;
    const place = panel.order.indexOf(id);
    panel.thrownAway.add(id);
    panel.leaveOut();
    panel.chosen = panel.order[Math.min(place, panel.order.length - 1)] ?? null;
    panel.show();
    panel.say(`${answer.place} is in outputs/.trash now.`);
  };
  const calm = (button) => {
    clearTimeout(button.doubt);
    button.classList.remove("sure");
    button.firstChild.textContent = "Delete";
  };

  const showFolder = async (panel) => {
    const answer = await panel.server.show_folder({ picture: panel.selected().id }).catch(() => ({ error: "The server does not answer; try again." }));
    panel.tell(answer.error);
  };

  /** The buttons of a results panel. */
  ui.resultButtons = (panel) => {
    const button = (name, icon, id, act, title = name) => makeButton(name, icon, (event) => act(event.currentTarget), { id: `${id}_${panel.tab}`, title });
    return [
      button("Again", "again", "again", () => redraw(panel, false), "Draw this picture's request again, with another seed"),
      button("Vary", "vary", "vary", () => redraw(panel, true), "Draw this picture again, a little different"),
      button("Compare", "compare", "compare", () => ui.compare(panel), "Compare it with another picture"),
      button("Open folder", "folder", "open_folder", () => showFolder(panel), "Open the folder that this picture lies in"),
      button("Delete", "clear", "delete", (one) => throwAway(panel, one), "Move the picture's file into the trash"),
    ];
  };

  ui.showResultButtons = (panel) => {
    document.getElementById(`open_folder_${panel.tab}`)?.toggleAttribute("hidden", !ui.showsFolders);
    document.getElementById(`compare_${panel.tab}`)?.toggleAttribute("hidden", !panel.selected() || !ui.canCompare(panel));
  };
}
