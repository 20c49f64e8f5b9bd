// The Extensions tab: what is installed, what is on offer, and the sheet that shows all of an extension before it is installed.
"use strict";
{
  const ui = window.webui;
  const { make } = ui;
  const SURE = 3000, SHOWN = 200, FILES = 300;
  const ORDERS = {
    "as listed": () => 0,
    "by name": (one, other) => one.name.localeCompare(other.name),
    "newest first": (one, other) => other.added.localeCompare(one.added),
    "most stars first": (one, other) => other.stars - one.stars,
  };
  const button = (name, onclick, className = "tool") => make("button", { type: "button", className, onclick }, name);
  const noAnswer = () => ({ error: "The server does not answer; try again." });

  ui.addExtensions = (element, server) => new ExtensionsPanel(element.querySelector(".extensions"), server);

  class ExtensionsPanel {
    constructor(root, server) {
      Object.assign(this, { root, server, entries: [], tags: new Set(), turn: 0, into: "" });
      this.sheet = new ConsentSheet(this);
      this.said = make("p", { className: "note extensions-said", attributes: { role: "status" } });
      this.notice = make("p", { className: "notice", hidden: true, attributes: { role: "alert" } });
      this.restart = make("p", { className: "notice extensions-restart", hidden: true }, "Stop the program and start it again: what runs is not what is installed.");
      this.closed = make("p", { className: "note extensions-closed", hidden: true }, "This server listens beyond its own machine, so extensions cannot be installed or changed here. Use python launch.py extensions, or start it with --enable-insecure-extension-access.");
      this.list = make("ul", { className: "extensions-list", attributes: { "aria-label": "Installed extensions" } });
      this.none = make("p", { className: "note", hidden: true }, "No extension is installed.");
      this.offered = make("ul", { className: "extensions-list", attributes: { "aria-label": "Available extensions" } });
      this.count = make("p", { className: "note extensions-count" });
      this.tagBar = make("div", { className: "extensions-tags", attributes: { role: "group", "aria-label": "Tags" } });
      this.search = make("input", { type: "search", hidden: true, placeholder: "Search the index", autocomplete: "off", attributes: { "aria-label": "Search the index" }, oninput: () => this.showEntries() });
      this.order = make("select", { hidden: true, onchange: () => this.showEntries(), attributes: { "aria-label": "Order" } }, ...Object.keys(ORDERS).map((name) => make("option", {}, name)));
      this.check = button("Check for updates", () => this.begin({ check: true }));
      root.replaceChildren(this.notice, this.closed, this.restart, this.said,
        this.group("Installed", make("div", { className: "extensions-bar" }, this.check), this.none, this.list),
        this.installer(),
        this.group("Available", make("div", { className: "extensions-bar" }, button("Load the index", () => this.loadIndex(), "tool always"), this.search, this.order), this.tagBar, this.count, this.offered));
      new IntersectionObserver(([entry]) => { if (entry.isIntersecting) this.begin(); }).observe(root);
    }

    group(title, ...children) {
      return make("section", { className: "extensions-group" }, make("h2", {}, title), ...children);
    }

    installer() {
      this.source = make("input", { type: "text", id: "extensions_source", autocomplete: "off", spellcheck: false, placeholder: "https://…/name.git, or pypi:name" });
      this.ref = make("input", { type: "text", id: "extensions_ref", autocomplete: "off", spellcheck: false, placeholder: "its own branch" });
      this.file = make("input", { type: "file", accept: ".zip,application/zip", hidden: true, id: "extensions_zip", onchange: () => this.takeZip() });
      this.look = make("button", { type: "submit", className: "tool primary" }, "Look at it");
      this.zip = button("From a zip file", () => this.chooseZip(""));
      const form = make("form", { className: "extensions-bar", onsubmit: (event) => { event.preventDefault(); this.prepare({ source: this.source.value, ref: this.ref.value }); } },
        make("label", { className: "wide" }, "Address", this.source), make("label", {}, "Branch, tag or commit", this.ref), this.look, this.zip, this.file);
      return this.group("Install", make("p", { className: "note" }, "Nothing is installed, and nothing of it runs, before you have seen what it is."), form);
    }

    async ask(what, query, work) {
      this.busy(work);
      const answer = await this.server[what](query).catch(noAnswer);
      this.busy("");
      this.tell(answer.error);
      return answer.error ? null : answer;
    }

    busy(work) {
      this.root.classList.toggle("busy", Boolean(work));
      for (const one of this.root.querySelectorAll("button, .extension-on")) one.disabled = Boolean(work) || this.root.classList.contains("closed") && !one.closest(".always");
      this.said.textContent = work;
    }

    async begin(query = {}) {
      const turn = ++this.turn;
      const answer = await this.ask("list_extensions", query, query.check ? "Asking for newer ones …" : "");
      // What was asked for since shows a newer list.
      if (!answer || turn !== this.turn) return;
      this.show(answer);
      const newer = answer.extensions.filter((one) => one.update).length;
      if (query.check) this.said.textContent = newer ? `${newer} can be updated.` : "There is nothing newer.";
    }

    show({ extensions, allowed, said }) {
      this.installed = extensions;
      if (this.entries.length) this.showEntries();
      this.list.replaceChildren(...extensions.map((one) => this.row(one)));
      this.none.hidden = extensions.length > 0;
      this.restart.hidden = !extensions.some((one) => one.restart_needed);
      this.closed.hidden = allowed;
      this.root.classList.toggle("closed", !allowed);
      this.busy("");
      if (said) this.said.textContent = said;
    }

    row(one) {
      const on = make("input", { type: "checkbox", className: "extension-on", checked: one.enabled, onchange: () => this.act("switch", { folder: one.folder, on: on.checked }), attributes: { "aria-label": `${one.name} is on` } });
      const origin = [one.version, one.branch, one.commit.slice(0, 8), one.source].filter(Boolean).join(" · ");
      const state = one.error ? make("p", { className: "notice" }, one.error) : "";
      const restart = one.restart_needed && !one.removed ? make("p", { className: "note extension-restart" }, one.running ? "Changes at the next start." : "Runs from the next start on.") : "";
      const newer = one.update ? make("p", { className: "note" }, `Newer: ${one.update.slice(0, 12)}`) : "";
      const fromFile = ["folder", "zip"].includes(one.kind);
      const update = one.updatable ? button("Update", () => this.prepare({ folder: one.folder })) : fromFile && button("Update from a zip file", () => this.chooseZip(one.folder));
      const actions = one.removed ? [] : [update, this.removing(one)];
      return make("li", { className: "extension", attributes: { "data-folder": one.folder } },
        one.removed ? "" : on,
        make("div", { className: "extension-text" }, make("h3", {}, one.name), make("p", {}, one.description), make("p", { className: "note" }, origin), tags(one.tags), newer, state, restart),
        make("div", { className: "extension-actions" }, ...actions.filter(Boolean)));
    }

    removing(one) {
      let sure = null;
      const remove = button("Remove", () => {
        if (sure !== null) return this.act("remove", { folder: one.folder });
        remove.textContent = "Click again to remove";
        remove.classList.add("sure");
        sure = setTimeout(() => { sure = null; remove.textContent = "Remove"; remove.classList.remove("sure"); }, SURE);
      });
      return remove;
    }

    async act(what, query) {
      this.turn++;
      const answer = await this.ask(what, query, "Working …");
      if (answer) this.show(answer);
      else this.refresh();
    }

    /** The list as it is, under the error that stays. */
    async refresh() {
      const answer = await this.server.list_extensions({}).catch(noAnswer);
      if (!answer.error) this.show(answer);
    }

    async prepare(query) {
      const answer = await this.ask("prepare", query, "Fetching it to look at …");
      if (answer) this.sheet.open(answer.sheet);
    }

    /** into: the extension whose place it is to take, or "". */
    chooseZip(into) {
      this.into = into;
      this.file.click();
    }

    async takeZip() {
      const [file] = this.file.files;
      this.file.value = "";
      if (!file) return;
      const url = await new Promise((resolve) => { const reader = new FileReader(); reader.onload = () => resolve(reader.result); reader.onerror = () => resolve(""); reader.readAsDataURL(file); });
      if (url) this.prepare({ zip: url.slice(url.indexOf(",") + 1), name: file.name, into: this.into });
      else this.tell(`${file.name} cannot be read. Choose it again.`);
    }

    async loadIndex() {
      const answer = await this.ask("available", null, "Reading the index …");
      if (!answer) return;
      this.entries = answer.entries;
      this.tags = new Set();
      const counts = new Map();
      for (const tag of this.entries.flatMap((one) => one.tags)) counts.set(tag, (counts.get(tag) ?? 0) + 1);
      const often = [...counts].sort(([one, many], [other, more]) => more - many || one.localeCompare(other)).slice(0, 30);
      this.tagBar.replaceChildren(...often.map(([tag, count]) => {
        const chip = make("button", { type: "button", className: "chip", onclick: () => this.toggleTag(tag, chip), attributes: { "aria-pressed": "false" } }, `${tag} (${count})`);
        return chip;
      }));
      this.search.hidden = this.order.hidden = false;
      this.showEntries();
    }

    toggleTag(tag, chip) {
      const on = !this.tags.delete(tag);
      if (on) this.tags.add(tag);
      chip.setAttribute("aria-pressed", on);
      this.showEntries();
    }

    showEntries() {
      const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
      const fits = this.entries.filter((one) => [...this.tags].every((tag) => one.tags.includes(tag)) && words.every((word) => `${one.name} ${one.description} ${one.url}`.toLowerCase().includes(word))).sort(ORDERS[this.order.value]);
      this.count.textContent = `${fits.length} of ${this.entries.length}${fits.length > SHOWN ? `; the first ${SHOWN} are shown` : ""}`;
      this.offered.replaceChildren(...fits.slice(0, SHOWN).map((one) => make("li", { className: "extension" },
        make("div", { className: "extension-text" }, make("h3", {}, one.name), make("p", {}, one.description), make("p", { className: "note" }, [one.stars && `★ ${one.stars}`, one.added, one.url].filter(Boolean).join(" · ")), tags(one.tags)),
        make("div", { className: "extension-actions" }, ...this.standing(one)))));
      this.busy("");
    }

    /** What can be done with an entry of the index, as far as is known of what is installed. */
    standing(entry) {
      const here = this.installed.find((one) => !one.removed && plain(one.source) === plain(entry.url));
      if (!here) return [button("Look at it", () => this.prepare({ source: entry.url }))];
      if (!here.update) return [make("p", { className: "note" }, "Installed")];
      return [make("p", { className: "note" }, `Installed; newer: ${here.update.slice(0, 12)}`), button("Update", () => this.prepare({ folder: here.folder }))];
    }

    tell(text) {
      this.notice.textContent = text ?? "";
      this.notice.hidden = !text;
    }
  }

  // The same for two spellings of one repository's address.
  const plain = (url) => url.trim().replace(/\/$/, "").replace(/\.git$/, "").toLowerCase();
  const tags = (names) => names.length ? make("p", { className: "extension-tags" }, ...names.map((name) => make("span", {}, name))) : "";

  class ConsentSheet {
    constructor(panel) {
      this.panel = panel;
      this.root = make("dialog", { className: "sheet consent-sheet", attributes: { "aria-labelledby": "consent_title" } });
      document.querySelector(".gradio-container").append(this.root);
      this.title = make("h2", { id: "consent_title" });
      this.lead = make("p", { className: "lead" });
      this.body = make("div", { className: "sheet-body" });
      this.notice = make("p", { className: "notice", hidden: true, attributes: { role: "alert" } });
      this.agree = make("button", { type: "submit", className: "tool primary" }, "Install");
      this.cancel = button("Cancel", () => this.close());
      this.root.addEventListener("cancel", (event) => { event.preventDefault(); this.close(); });
      this.root.append(make("form", { onsubmit: (event) => { event.preventDefault(); this.install(); } }, this.title, this.lead, this.body, make("div", { className: "sheet-buttons" }, this.notice, this.agree, this.cancel)));
    }

    open(sheet) {
      this.sheet = sheet;
      this.notice.hidden = true;
      this.title.textContent = `${sheet.replaces ? "Update" : "Install"} ${sheet.name} ${sheet.version}`.trim();
      this.lead.textContent = sheet.description;
      this.agree.textContent = sheet.replaces ? "Update" : "Install";
      const facts = {
        From: sheet.source, Branch: sheet.ref, Commit: sheet.commit && `${sheet.commit}${sheet.commit_date ? ` of ${new Date(sheet.commit_date * 1000).toLocaleDateString()}` : ""}`,
        "In place of": sheet.replaces, Folder: `extensions/${sheet.folder}`, Author: sheet.author, Hooks: sheet.hooks.join(", ") || "none that were found",
        Packages: sheet.packages.map((one) => `${one.name} ${one.version}`).join(", ") || "none",
      };
      const remarks = sheet.remarks.length ? [make("div", { className: "remarks" }, make("h3", {}, "To be known"), make("ul", {}, ...sheet.remarks.map((one) => make("li", {}, one))))] : [];
      const pairs = Object.entries(facts).filter(([, value]) => value).flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]);
      const files = sheet.files.slice(0, FILES).map((one) => make("li", {}, `${one.path} (${ui.fileSize(one.size)})`));
      if (sheet.files.length > FILES) files.push(make("li", {}, `and ${sheet.files.length - FILES} more`));
      const count = `${sheet.files.length} files, ${ui.fileSize(sheet.size)}: Python ${sheet.python_files.length}, JavaScript ${sheet.javascript_files.length}, machine code ${sheet.native_files.length}`;
      const left = sheet.left_out.length ? [make("p", { className: "note" }, `Left out: ${sheet.left_out.slice(0, 20).join(", ")}`)] : [];
      this.body.replaceChildren(
        make("p", { className: "consent-warning" }, "An extension is a program: it can do whatever you can do on this machine. Install it if you trust who made it."),
        ...remarks, make("dl", { className: "pairs" }, ...pairs),
        make("details", { className: "consent-files" }, make("summary", {}, count), make("ul", {}, ...files)), ...left);
      if (!this.root.open) this.root.showModal();
      // Not what comes first in it: who presses Enter too often must not have agreed.
      this.cancel.focus();
    }

    async install() {
      this.agree.disabled = this.cancel.disabled = true;
      this.agree.textContent = "Installing …";
      this.panel.turn++;
      const answer = await this.panel.server.confirm({ digest: this.sheet.digest }).catch(noAnswer);
      this.agree.disabled = this.cancel.disabled = false;
      this.root.close();
      if (answer.error) this.panel.refresh();
      else this.panel.show(answer);
      this.panel.tell(answer.error);
    }

    close() {
      if (this.agree.disabled) return;
      this.panel.server.cancel({ digest: this.sheet.digest }).catch(noAnswer);
      this.root.close();
    }
  }
}
