// The dialog in which stored styles are made, changed and deleted.
"use strict";
{
  const ui = window.webui;
  const { make } = ui;
  const SURE = 3000;
  let editor = null;

  ui.addStyles = (element, server, edited) => { editor = new StyleEditor(element.querySelector("dialog"), server, edited); };

  /** tab: the one whose prompts may be copied.  chosen: names chosen for the prompts; the first is shown. */
  ui.addTool("styles_edit_button", (tab) => editor.open(tab, document.querySelector(`#${tab}_styles .token span`)?.textContent.trim() ?? ""));

  class StyleEditor {
    constructor(root, server, edited) {
      Object.assign(this, { root, server, edited, styles: [] });
      this.choice = make("select", { id: "txt2img_styles_edit_select", onchange: () => this.show(this.choice.value) });
      this.name = make("input", { type: "text", id: "txt2img_edit_style_name", maxLength: 200, required: true, autocomplete: "off", oninput: () => this.showButtons() });
      this.prompt = make("textarea", { id: "txt2img_edit_style_prompt", rows: 3 });
      this.negative = make("textarea", { id: "txt2img_edit_style_neg_prompt", rows: 3 });
      this.save = make("button", { type: "submit", className: "tool primary", id: "txt2img_edit_style_save" }, "Save");
      this.delete = make("button", { type: "button", className: "tool", id: "txt2img_edit_style_delete", onclick: () => this.askTwice() }, "Delete");
      this.notice = make("p", { className: "notice", hidden: true, attributes: { role: "alert" } });
      this.said = make("p", { className: "note", attributes: { role: "status" } });
      const copy = make("button", { type: "button", className: "tool", id: "txt2img_edit_style_copy", onclick: () => this.copy() }, "Copy from the prompts");
      const close = make("button", { type: "button", className: "tool", id: "txt2img_edit_style_close", onclick: () => root.close() }, "Close");
      root.append(make("form", { onsubmit: (event) => { event.preventDefault(); this.store(); } },
        make("h2", { id: "styles_title" }, "Styles"),
        make("div", { className: "sheet-body" }, this.notice,
          make("label", {}, "Style", this.choice),
          make("label", {}, "Name", this.name),
          make("label", {}, "Prompt", this.prompt),
          make("label", {}, "Negative prompt", this.negative),
          make("p", { className: "note" }, "Where {prompt} stands, the prompt is put in; without it, the style comes after the prompt."), this.said),
        make("div", { className: "sheet-buttons" }, this.save, this.delete, copy, close)));
    }

    async open(tab, name) {
      this.tab = tab;
      this.take(await this.server.list_styles(null).catch(() => null), name);
      this.edited();
      this.root.showModal();
    }

    /** What the server answers: all styles, and what is wrong. Returns whether it did what was asked for. */
    take(answer, name) {
      const error = answer ? answer.error : "The server does not answer; try again.";
      const told = [error, ...(answer?.remarks ?? [])].filter(Boolean).join(" ");
      this.notice.textContent = told;
      this.notice.hidden = !told;
      this.said.textContent = "";
      if (!answer) return false;
      this.styles = answer.styles;
      this.choice.replaceChildren(make("option", { value: "" }, "New style"), ...this.styles.map((style) => make("option", { value: style.name }, style.name)));
      if (!error) this.show(name);
      return !error;
    }

    show(name) {
      const style = this.styles.find((one) => one.name === name);
      this.choice.value = style ? name : "";
      this.name.value = style?.name ?? "";
      this.prompt.value = style?.prompt ?? "";
      this.negative.value = style?.negative_prompt ?? "";
      this.showButtons();
    }

    showButtons() {
      const exists = this.styles.some((style) => style.name === this.name.value.trim());
      this.delete.hidden = !exists;
      this.calm();
    }

    copy() {
      this.prompt.value = ui.promptBox(this.tab, "prompt").value;
      this.negative.value = ui.promptBox(this.tab, "negative_prompt").value;
    }

    async store() {
      const style = { name: this.name.value.trim(), prompt: this.prompt.value, negative_prompt: this.negative.value };
      if (!this.take(await this.server.save_style(style).catch(() => null), style.name)) return;
      this.said.textContent = `“${style.name}” is saved.`;
      this.edited();
    }

    /** What is deleted cannot be taken back, so it needs a second click. */
    async askTwice() {
      if (this.delete.classList.toggle("sure")) {
        this.delete.textContent = "Click again to delete";
        this.doubt = setTimeout(() => this.calm(), SURE);
        return;
      }
      const name = this.name.value.trim();
      if (!this.take(await this.server.delete_style(name).catch(() => null), "")) return;
      this.said.textContent = `“${name}” is deleted.`;
      this.edited();
    }

    calm() {
      clearTimeout(this.doubt);
      this.delete.classList.remove("sure");
      this.delete.textContent = "Delete";
    }
  }
}
