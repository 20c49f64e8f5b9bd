// All about one model, in a dialog: what its file says, what its user notes of it, and what can be done with it.
"use strict";
{
  const ui = window.webui;
  const { make } = ui;
  const SURE = 3000;
  const PREVIEW_SIDE = 768;
  const FITTED = ["width", "height", "steps", "cfg_scale", "sampler", "schedule"];
  let sheet = null;

  ui.showModel = (card) => (sheet ??= new ModelSheet()).open(card);

  class ModelSheet {
    constructor() {
      this.root = make("dialog", { className: "sheet styles model-sheet", attributes: { "aria-labelledby": "model_title" } });
      document.querySelector(".gradio-container").append(this.root);
      const text = (rows) => make("textarea", { rows });
      this.boxes = {
        description: text(2), activation_text: text(2), negative_text: text(1), notes: text(3),
        tags: make("input", { type: "text", autocomplete: "off" }),
        preferred_weight: make("input", { type: "number", min: -10, max: 10, step: 0.05 }),
        vae: make("input", { type: "text", autocomplete: "off", placeholder: "Automatic" }),
      };
      const labels = { description: "Description", activation_text: "Activation text: goes into the prompt with it", negative_text: "Goes into the negative prompt with it", notes: "Notes", tags: "Tags, between commas", preferred_weight: "Preferred weight; 0: 1", vae: "VAE that belongs to it" };
      this.labels = Object.fromEntries(Object.entries(this.boxes).map(([name, box]) => [name, make("label", {}, labels[name], box)]));
      this.title = make("h2", { id: "model_title" });
      this.lead = make("p", { className: "lead" });
      this.notice = make("p", { className: "notice", hidden: true, attributes: { role: "alert" } });
      this.said = make("p", { className: "note", attributes: { role: "status" } });
      this.used = make("div", { className: "model-used", attributes: { "aria-label": "Where it is used", role: "group" } });
      this.words = make("div", { className: "training-tags" });
      this.metadata = make("pre", { className: "metadata" });
      this.fitting = make("p", { className: "note" });
      const button = (name, action, className = "tool") => make("button", { type: "button", className, onclick: action }, name);
      this.file = make("input", { type: "file", accept: "image/*", hidden: true, onchange: () => this.sendPreview(), attributes: { "aria-label": "Picture for the preview" } });
      this.folder = button("Open folder", () => this.ask("show_folder"));
      this.remove = button("Delete", () => this.askTwice());
      this.take = button("Take its defaults from the form", () => this.takeDefaults());
      this.forget = button("Forget its defaults", () => this.note({ defaults: {} }));
      this.root.append(make("form", { onsubmit: (event) => { event.preventDefault(); this.save(); } }, this.title, this.lead,
        make("div", { className: "sheet-body" }, this.notice, ...Object.values(this.labels), this.fitting, this.used,
          make("details", { className: "trained" }, make("summary", {}, "Words it was trained with"), this.words),
          make("details", { className: "said" }, make("summary", {}, "What its file says"), this.metadata), this.said),
        make("div", { className: "sheet-buttons" }, make("button", { type: "submit", className: "tool primary" }, "Save"), this.take, this.forget,
          button("Preview from the last picture", () => this.setPreview()), button("Preview from a file", () => this.file.click()), this.file, button("Copy name", () => this.copy()), this.folder, this.remove, button("Close", () => this.root.close()))));
    }

    async open(card) {
      this.card = card;
      this.show(card);
      this.tell("");
      this.said.textContent = "";
      this.words.replaceChildren();
      this.metadata.textContent = "";
      this.used.replaceChildren();
      this.folder.hidden = !ui.showsFolders;
      if (!this.root.open) this.root.showModal();
      const answer = await this.ask("details");
      if (!answer || this.card.name !== card.name) return;
      this.show(answer.card);
      const facts = [answer.card.family, ui.fileSize(answer.card.size), new Date(answer.card.time * 1000).toLocaleDateString(), answer.sha256 && `sha256 ${answer.sha256.slice(0, 10)}`];
      this.lead.textContent = [answer.file, ...facts].filter(Boolean).join(" · ");
      this.words.replaceChildren(...answer.training_tags.map(([word, count]) => make("button", { type: "button", className: "chip", title: "Add to the prompt", onclick: () => this.add(word) }, `${word} (${count})`)));
      this.words.parentElement.hidden = !answer.training_tags.length;
      const lines = Object.entries(answer.metadata).map(([key, value]) => `${key}: ${value.length > 600 ? `${value.slice(0, 600)} …` : value}`);
      this.metadata.textContent = lines.join("\n");
      this.metadata.parentElement.hidden = !lines.length;
      this.showUses();
    }

    /** Pictures, styles and checkpoints that this model is used in. */
    async showUses() {
      const { card } = this;
      this.used.textContent = "Looking where it is used …";
      const answer = await this.ask("used");
      if (this.card.name !== card.name) return;
      if (!answer) return this.used.replaceChildren();
      const pictures = make("button", { type: "button", className: "chip", title: "Show them in the Gallery", onclick: () => this.showPictures(answer.said) }, `${answer.pictures.toLocaleString()} ${answer.pictures === 1 ? "picture" : "pictures"}`);
      const lines = [answer.styles.length && `Styles: ${answer.styles.join(", ")}.`, answer.models.length && `Belongs to: ${answer.models.join(", ")}.`];
      const parts = [answer.pictures ? pictures : null, ...lines].filter(Boolean);
      this.used.replaceChildren(...(parts.length ? ["Used in ", ...parts] : ["Not used in any picture or style yet."]));
    }

    showPictures(said) {
      this.root.close();
      ui.searchGallery(said);
    }

    show(card) {
      this.card = card;
      this.title.textContent = card.title;
      this.lead.textContent = card.broken ? `${card.name} ${card.broken}.` : card.name;
      for (const [name, box] of Object.entries(this.boxes)) box.value = name === "tags" ? card.tags.join(", ") : card[name];
      const isPrompted = ["lora", "embedding", "hypernetwork"].includes(card.kind);
      this.labels.activation_text.hidden = this.labels.negative_text.hidden = !isPrompted;
      this.labels.preferred_weight.hidden = !["lora", "hypernetwork"].includes(card.kind);
      this.labels.vae.hidden = this.take.hidden = this.forget.hidden = card.kind !== "checkpoint";
      const defaults = Object.entries(card.defaults);
      this.forget.hidden ||= !defaults.length;
      this.fitting.textContent = defaults.length ? `Chosen, it sets ${defaults.map(([name, value]) => `${ui.facts.titles.request[name] ?? name}: ${value}`).join(", ")}.` : "";
      this.calm();
    }

    async ask(what, more = {}) {
      const answer = await ui.models[what]({ kind: this.card.kind, name: this.card.name, ...more }).catch(() => ({ error: "The server does not answer; try again." }));
      this.tell(answer.error);
      return answer.error ? null : answer;
    }

    async note(changes, said = "Saved.") {
      const answer = await this.ask("note", { changes });
      if (!answer) return;
      this.show(answer.card);
      this.said.textContent = said;
      ui.modelsChanged(answer.card);
    }

    save() {
      const values = Object.fromEntries(Object.entries(this.boxes).filter(([name]) => !this.labels[name].hidden).map(([name, box]) => [name, box.value]));
      values.tags = values.tags.split(",").map((tag) => tag.trim()).filter(Boolean);
      if ("preferred_weight" in values) values.preferred_weight = Number(values.preferred_weight) || 0;
      return this.note(values);
    }

    async takeDefaults() {
      const tab = ui.drawingTab();
      await ui.until(() => ui.tab(tab).overrides);
      const form = await ui.readForm(tab);
      return this.note({ defaults: Object.fromEntries(FITTED.map((name) => [name, form[name]])) }, `Taken from ${tab}.`);
    }

    async setPreview() {
      const picture = ui.selectedPicture(ui.drawingTab());
      if (!picture) return this.tell(`There is no picture in ${ui.drawingTab()}. Draw one first.`);
      return this.previewIs({ picture: picture.id });
    }

    /** Made small here, so that a photograph need not travel whole. */
    async sendPreview() {
      const [file] = this.file.files;
      this.file.value = "";
      if (!file) return;
      const picture = await createImageBitmap(file).catch(() => null);
      if (!picture) return this.tell(`${file.name} is no picture that this browser can read.`);
      const scale = Math.min(1, PREVIEW_SIDE / Math.max(picture.width, picture.height));
      const canvas = make("canvas", { width: Math.max(1, Math.round(picture.width * scale)), height: Math.max(1, Math.round(picture.height * scale)) });
      canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
      return this.previewIs({ image: canvas.toDataURL("image/png") });
    }

    async previewIs(picture) {
      const answer = await this.ask("preview", picture);
      if (!answer) return;
      this.said.textContent = "The picture is its preview now.";
      ui.modelsChanged(answer.card);
    }

    async add(word) {
      const tab = ui.drawingTab(), box = ui.promptBox(tab, "prompt");
      ui.changeForm(tab, { prompt: box.value.trim() ? `${box.value.replace(/[\s,]+$/, "")}, ${word}` : word });
      this.said.textContent = `“${word}” is in the prompt of ${tab}.`;
    }

    async copy() {
      await navigator.clipboard?.writeText(this.card.name).catch(() => null);
      this.said.textContent = `${this.card.name} is on the clipboard.`;
    }

    /** A second click, as everywhere where something goes away. */
    async askTwice() {
      if (this.remove.classList.toggle("sure")) {
        this.remove.textContent = "Click again: into the trash";
        this.doubt = setTimeout(() => this.calm(), SURE);
        return;
      }
      if (!await this.ask("throw_away")) return;
      this.root.close();
      ui.modelsChanged();
    }

    calm() {
      clearTimeout(this.doubt);
      this.remove.classList.remove("sure");
      this.remove.textContent = "Delete";
    }

    tell(text) {
      this.notice.textContent = text ?? "";
      this.notice.hidden = !text;
    }
  }
}
