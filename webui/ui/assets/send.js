// Pictures on their way from one tab to another, with the parameters that go along.
"use strict";
{
  const ui = window.webui;
  const { makeButton } = ui;
  // Where a picture may be sent: [id, title, function (file's address, parameters or null)], in the order of the buttons.
  const destinations = [];

  /** Offer a further place to send pictures to. */
  ui.addDestination = (id, title, take) => destinations.push({ id, title, take });

  /** The buttons of a results panel that send its selected picture on. */
  ui.sendButtons = (panel) => {
    const buttons = destinations.map(({ id, title, take }) => makeButton(`Send to ${title}`, "send", () => {
      const { url, parameters } = panel.selected();
      take(url, parameters);
    }, { id: `${panel.tab}_send_to_${id}` }));
    if (panel.tab === "txt2img") {
      buttons.push(makeButton("Hires this one", "larger", () => panel.events.hires(), { id: "txt2img_upscale", title: "Draw this picture again, with the hires fix as set below" }));
    }
    return buttons;
  };

  /** What the server is told for "Hires this one": which picture, beside what the panel follows. */
  ui.pictureForHires = (followed, values) => [{ ...followed, picture: ui.selectedPicture("txt2img")?.id ?? null }, ...values];

  /** Open a tab with a picture editor; the editor. */
  ui.openEditor = async (tab) => {
    ui.showTab(tab);
    await ui.until(() => ui.tab(tab).overrides && ui.tab(tab).results);
    return ui.canvas(`${tab}_image`);
  };

  const BLOCK = 8;
  const fitting = (side) => Math.max(64, Math.floor(side / BLOCK) * BLOCK);

  /** The size for a picture of that size.  sides: pixels of new canvas to its left, right, top and bottom. */
  ui.sizeFor = ({ width, height }, sides = [0, 0, 0, 0]) => {
    const [left, right, up, down] = sides.map((amount) => amount ?? 0);
    return [fitting(width + left + right), fitting(height + up + down)];
  };

  ui.sendToEditor = async (tab, source, parameters) => {
    const editor = await ui.openEditor(tab);
    try {
      await editor.load(source);
      const value = await editor.ready();
      const [width, height] = value ? ui.sizeFor(value) : [];
      // The prompts are those that the picture was drawn with: its styles are in them already.
      const along = parameters ? { ...parameters, styles: [] } : {};
      ui.changeForm(tab, width ? { ...along, width, height } : along);
    } catch (error) {
      ui.tell(tab, String(error.message ?? error));
    }
  };

  /** The picture of one tab's editor in another's, with its mask; without one, the mask that is there stays if it fits. */
  ui.copyToEditor = async (from, to) => {
    let value;
    try {
      value = await ui.canvas(`${from}_image`).ready();
    } catch (error) {
      ui.tell(from, String(error.message ?? error));
      return;
    }
    if (!value) {
      ui.tell(from, "There is no picture to copy. Load one first.");
      return;
    }
    const editor = await ui.openEditor(to);
    const there = await editor.ready().catch(() => null);
    const fits = there?.mask && there.width === value.width && there.height === value.height;
    await editor.loadHash({ picture: value.picture, width: value.width, height: value.height, mask: value.mask || (fits ? there.mask : "") });
    const [width, height] = ui.sizeFor(value);
    ui.changeForm(to, { width, height });
  };

  for (const tab of ["img2img", "inpaint", "depth2img"]) ui.addDestination(tab, tab, (url, parameters) => ui.sendToEditor(tab, url, parameters));

  /** What is drawn in the editors is stored before a job is queued.  names: of the values.  canvases: element by control's name. */
  ui.storeDrawn = async (canvases, names, values) => {
    const stored = [...values];
    await Promise.all(Object.entries(canvases).map(async ([name, element]) => {
      const place = names.indexOf(name);
      // An editor that has not been opened holds what it was restored to.
      if (!document.getElementById(element)) return;
      try {
        stored[place] = await ui.canvas(element).ready();
      } catch (error) {
        stored[place] = { error: String(error.message ?? error) };
      }
    }));
    return stored;
  };
}
