// Taking parameters over from a text or a picture: the prompts at once, everything else after it was listed and ticked.
"use strict";
{
  const ui = window.webui;
  const { make } = ui;
  const NO_ANSWER = { error: "The server does not answer; try again." };
  const SECTIONS = [
    ["model", "Models", "Drawn with another model; tick to confirm."],
    ["request", "Parameters", ""],
    ["template", "Prompt", "Instead of the prompt as it was drawn."],
    ["setting", "Settings", "For the jobs of this page, until removed under the prompts."],
    ["hidden", "More parameters", "For the jobs of this page, until removed under the prompts."],
  ];
  const CONFIRM = ["model", "template"];
  let dialog = null;

  ui.addPaste = (element, server) => { dialog = new Paste(element.querySelector("dialog"), server); };

  /** The arrow button: the text in the prompt, else the selected picture's. */
  ui.addTool("paste", (tab) => {
    const text = ui.promptBox(tab, "prompt").value;
    const picture = ui.selectedPicture(tab);
    if (text.trim()) dialog.takeText(tab, text);
    else if (picture) dialog.takeText(tab, picture.infotext);
    else ui.tell(tab, "There is nothing to take over: the prompt is empty and no picture is selected. Paste an infotext into the prompt first.");
  });
  ui.takeOverText = (tab, text) => dialog.takeText(tab, text);
  ui.takeOverPicture = (tab, file) => dialog.takePicture(tab, file);

  /** What a server function is given a file by; null, with the reason told, for a file that is too large. */
  ui.upload = (file, more = {}) => {
    if (file.size <= ui.facts.largestPicture) return { binary: true, data: { picture: file, ...more } };
    return null;
  };
  ui.tooLarge = (file) => `${file.name} has ${Math.ceil(file.size / 1048576)} MB; at most ${Math.floor(ui.facts.largestPicture / 1048576)} are read.`;

  class Paste {
    constructor(root, server) {
      Object.assign(this, { root, server });
    }

    async takeText(tab, text) {
      const form = await ui.readForm(tab);
      this.take(tab, await this.server.preview_text({ text, form }).catch(() => NO_ANSWER),
        "The prompt holds no parameters. Paste an infotext into it, or empty it to use the selected picture.");
    }

    async takePicture(tab, file) {
      const upload = ui.upload(file, { form: JSON.stringify(await ui.readForm(tab)) });
      if (!upload) ui.tell(tab, ui.tooLarge(file));
      else this.take(tab, await this.server.preview_picture(upload).catch(() => NO_ANSWER), "This picture says nothing of how it was made.");
    }

    take(tab, preview, nothing) {
      this.tab = tab;
      ui.tell(tab, preview.error ?? (preview.is_infotext ? null : [nothing, ...preview.remarks].join(" ")));
      if (preview.error || !preview.is_infotext) return;
      if (Object.keys(preview.prompts).length) ui.changeForm(tab, preview.prompts);
      if (preview.changes.length || preview.unknown.length || preview.remarks.length) this.open(preview);
      else ui.say(tab, "The prompts were taken over; nothing else differs.");
    }

    open(preview) {
      this.rows = preview.changes.map((change) => this.makeRow(change));
      const any = this.rows.length > 0;
      const apply = make("button", { type: "submit", className: "tool primary", id: "paste_apply", autofocus: any }, "Apply");
      const cancel = make("button", { type: "button", className: "tool", id: "paste_cancel", onclick: () => this.root.close() }, any ? "Cancel" : "Close");
      this.root.replaceChildren(make("form", { method: "dialog", onsubmit: () => this.apply() },
        make("h2", { id: "paste_title" }, "Parameters to take over"),
        make("p", { className: "lead" }, any ? "The prompts are set. Untick what should stay as it is." : "The prompts are set; nothing else differs."),
        make("div", { className: "sheet-body" }, ...SECTIONS.map((section) => this.makeSection(...section)).filter(Boolean),
          ...this.makeUnknown(preview.unknown), ...this.makeRemarks(preview.remarks)),
        make("div", { className: "sheet-buttons" }, ...(any ? [apply] : []), cancel)));
      this.root.showModal();
    }

    makeRow(change) {
      const tick = make("input", { type: "checkbox", checked: !CONFIRM.includes(change.kind) });
      const row = make("label", { className: "change" }, tick, make("span", { className: "change-title" }, change.title),
        make("span", { className: "change-values" }, make("del", {}, change.old), make("span", { className: "arrow", ariaHidden: "true" }, "→"), make("ins", {}, change.new)));
      row.dataset.name = change.name;
      return { change, tick, row };
    }

    makeSection(kind, title, note) {
      const rows = this.rows.filter(({ change }) => change.kind === kind).map(({ row }) => row);
      if (!rows.length) return null;
      const section = make("fieldset", {}, make("legend", {}, title), ...(note ? [make("p", { className: "note" }, note)] : []), ...rows);
      section.dataset.kind = kind;
      return section;
    }

    makeUnknown(pairs) {
      if (!pairs.length) return [];
      const list = make("dl", { className: "pairs" }, ...pairs.flatMap(([key, value]) => [make("dt", {}, key), make("dd", {}, value)]));
      return [make("section", { className: "unknown" }, make("h3", {}, "Not known here, and left out"), list)];
    }

    makeRemarks(remarks) {
      if (!remarks.length) return [];
      return [make("section", { className: "remarks" }, make("h3", {}, "Remarks"), make("ul", {}, ...remarks.map((remark) => make("li", {}, remark))))];
    }

    async apply() {
      const ticked = this.rows.filter(({ tick }) => tick.checked).map(({ change }) => change);
      const form = await ui.readForm(this.tab);
      const changes = {};
      const beside = { settings: { ...form.overrides?.settings }, request: { ...form.overrides?.request } };
      for (const { kind, name, value, standing } of ticked) {
        const place = { setting: beside.settings, hidden: beside.request }[kind];
        if (!place) changes[name] = value;
        else if (standing) delete place[name];
        else place[name] = value;
      }
      const { seedExtras } = ui.facts;
      // With the tick, all of the seed's extras act: those that were idle start from nothing.
      if (!form.extra && ticked.some(({ name, standing }) => name in seedExtras && !standing)) Object.assign(changes, { ...seedExtras, ...changes, extra: true });
      ui.changeForm(this.tab, { ...changes, overrides: beside });
    }
  }
}
