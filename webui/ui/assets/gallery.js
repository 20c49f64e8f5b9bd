// The Gallery tab: pictures found by words, looked at, chosen, sent on, kept, and thrown away.
"use strict";
{
  const ui = window.webui;
  const { make, makeButton } = ui;
  const PAGE = 60, PAUSE = 150, SURE = 3000;

  let gallery = null;
  ui.addGallery = (element, server) => { gallery = new GalleryTab(element.querySelector(".gallery-tab"), server); };
  /** Open the Gallery with the pictures that a text finds. */
  ui.searchGallery = async (text) => {
    ui.showTab("gallery");
    await ui.until(() => gallery);
    gallery.search.value = text;
    await gallery.set({ text });
  };

  class GalleryTab {
    constructor(root, server) {
      Object.assign(this, { root, server, tab: "gallery", pictures: [], total: 0, chosen: new Set(), asked: 0, query: { text: "", favourites: false, oldest_first: false } });
      this.build();
      new IntersectionObserver(([entry]) => { if (entry.isIntersecting) this.come(); }).observe(root);
      new IntersectionObserver(([entry]) => { if (entry.isIntersecting) this.more(); }, { rootMargin: "800px" }).observe(this.end);
    }

    build() {
      this.search = make("input", { type: "search", id: "gallery_search", placeholder: "Search prompts, models, samplers, dates; \"in quotes\" for phrases", autocomplete: "off", attributes: { "aria-label": "Search pictures" }, oninput: () => this.soon() });
      this.star = makeButton("Favourites only", "star", () => this.set({ favourites: !this.query.favourites }), { id: "gallery_favourites", className: "tool small icon-star" });
      this.order = make("select", { id: "gallery_order", attributes: { "aria-label": "Order" }, onchange: () => this.set({ oldest_first: this.order.value === "old" }) },
        make("option", { value: "new" }, "Newest first"), make("option", { value: "old" }, "Oldest first"));
      this.anew = makeButton("Read all files again", "refresh", () => this.look(true), { id: "gallery_rebuild", className: "tool small icon-refresh" });
      this.count = make("span", { className: "models-count", attributes: { role: "status" } });
      this.notice = make("p", { className: "notice", hidden: true, attributes: { role: "alert" } });
      this.said = make("p", { className: "note", attributes: { role: "status" } });
      const button = (name, icon, id, action) => makeButton(name, icon, action, { id, className: `tool icon-${icon}` });
      this.remove = button("Delete", "cancel", "gallery_delete", () => this.askTwice());
      this.many = make("div", { className: "gallery-many", hidden: true }, this.manyCount = make("span", {}),
        button("Favourite", "star", "gallery_favour", () => this.favour([...this.chosen])), button("Download zip", "zip", "gallery_zip", () => this.zip()), this.remove,
        button("Choose none", "cancel", "gallery_none", () => this.choose([])));
      this.grid = make("ul", { className: "gallery-grid" });
      this.end = make("div", {});
      this.root.replaceChildren(make("div", { className: "models-bar" }, this.search, this.order, this.star, this.anew, this.count), this.notice, this.said, this.many, this.grid, this.end);
      this.viewer = new Viewer(this);
    }

    /** The tab is opened: what is indexed at once, then what has come since. */
    async come() {
      if (!this.pictures.length) await this.ask();
      await this.look(false);
    }

    async look(anew) {
      if (anew) this.said.textContent = "Reading all files again …";
      const answer = await this.server.refresh({ anew }).catch(() => null);
      if (anew) this.said.textContent = answer ? "All files are read." : "";
      if (answer?.changed || anew) await this.ask();
    }

    soon() {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.set({ text: this.search.value }), PAUSE);
    }

    set(changes) {
      Object.assign(this.query, changes);
      this.star.setAttribute("aria-pressed", this.query.favourites);
      return this.ask();
    }

    async ask() {
      const turn = ++this.asked;
      const answer = await this.find(0, Math.max(PAGE, Math.min(this.pictures.length, 500)));
      if (turn !== this.asked || !answer) return;
      Object.assign(this, { pictures: answer.pictures, total: answer.total });
      this.grid.replaceChildren(...this.pictures.map((picture) => this.tile(picture)));
      this.choose([...this.chosen].filter((id) => this.pictures.some((one) => one.id === id)));
      const none = this.query.text || this.query.favourites ? "Nothing fits this search." : "Pictures that are drawn appear here.";
      this.count.textContent = this.total ? `${this.total.toLocaleString()} ${this.total === 1 ? "picture" : "pictures"}` : none;
    }

    async find(first, count) {
      const answer = await this.server.find({ ...this.query, first, count }).catch(() => ({ error: "The server does not answer; try again." }));
      this.tell(answer.error);
      return answer.error ? null : answer;
    }

    async more() {
      if (this.waiting || !this.pictures.length || this.pictures.length >= this.total) return;
      const turn = this.asked;
      this.waiting = true;
      const answer = await this.find(this.pictures.length, PAGE);
      this.waiting = false;
      if (!answer?.pictures.length || turn !== this.asked) return;
      this.pictures.push(...answer.pictures);
      this.grid.append(...answer.pictures.map((picture) => this.tile(picture)));
      requestAnimationFrame(() => { if (this.end.getBoundingClientRect().top < innerHeight + 800) this.more(); });
    }

    tile(picture) {
      const words = picture.infotext.split("\n")[0].slice(0, 120) || picture.name;
      const tick = make("input", { type: "checkbox", checked: this.chosen.has(picture.id), attributes: { "aria-label": `Choose ${picture.name}` }, onclick: (event) => this.tick(picture, event) });
      return make("li", { className: `gallery-tile${picture.favourite ? " favourite" : ""}`, attributes: { "data-id": picture.id } },
        make("button", { type: "button", className: "gallery-open", title: words, onclick: () => this.viewer.open(picture), attributes: { "aria-label": `Open ${picture.name}` } },
          make("img", { src: ui.address(`gallery/${picture.id}/small`), alt: words, loading: "lazy", decoding: "async", style: picture.width ? `aspect-ratio: ${picture.width} / ${picture.height}` : "" })), tick);
    }

    /** With Shift, all between the last one and this. */
    tick(picture, event) {
      const place = this.pictures.indexOf(picture);
      const [from, to] = event.shiftKey && this.last !== undefined ? [Math.min(this.last, place), Math.max(this.last, place)] : [place, place];
      for (const one of this.pictures.slice(from, to + 1)) {
        if (event.target.checked) this.chosen.add(one.id);
        else this.chosen.delete(one.id);
      }
      this.last = place;
      this.choose([...this.chosen]);
    }

    choose(ids) {
      this.chosen = new Set(ids);
      for (const tile of this.grid.children) {
        const on = this.chosen.has(tile.dataset.id);
        tile.classList.toggle("chosen", on);
        tile.lastChild.checked = on;
      }
      this.many.hidden = !this.chosen.size;
      this.manyCount.textContent = `${this.chosen.size} chosen`;
      this.calm();
    }

    async favour(ids, on = true) {
      const answer = await this.server.favour({ ids, on }).catch(() => ({ error: "The server does not answer; try again." }));
      this.tell(answer.error);
      if (!answer.error) await this.ask();
    }

    async zip() {
      const files = [];
      const chosen = this.pictures.filter((one) => this.chosen.has(one.id));
      for (const [place, { id, name }] of chosen.entries()) {
        const answer = await fetch(ui.address(`gallery/${id}`)).catch(() => null);
        if (!answer?.ok) return this.tell(`No zip was made: ${name} cannot be loaded.`);
        const isTaken = files.some((one) => one.name === name);
        files.push({ name: isTaken ? `${place}-${name}` : name, bytes: new Uint8Array(await answer.arrayBuffer()) });
      }
      const address = URL.createObjectURL(ui.zip(files));
      make("a", { href: address, download: `${files.length}-pictures.zip` }).click();
      setTimeout(() => URL.revokeObjectURL(address), 60000);
    }

    async askTwice() {
      if (this.remove.classList.toggle("sure")) {
        this.remove.firstChild.textContent = `Click again: ${this.chosen.size} into the trash`;
        this.doubt = setTimeout(() => this.calm(), SURE);
        return;
      }
      await this.throwAway([...this.chosen]);
    }

    async throwAway(ids) {
      const answer = await this.server.throw_away({ ids }).catch(() => ({ error: "The server does not answer; try again." }));
      this.choose([]);
      await this.ask();
      this.tell(answer.error);
      if (!answer.error) this.said.textContent = `${answer.moved} moved into outputs/.trash.`;
    }

    calm() {
      clearTimeout(this.doubt);
      this.remove.classList.remove("sure");
      this.remove.firstChild.textContent = "Delete";
    }

    tell(text) {
      this.notice.textContent = text ?? "";
      this.notice.hidden = !text;
    }
  }

  /** One picture at a time, with what it says of itself; the arrow keys go on. */
  class Viewer {
    constructor(gallery) {
      Object.assign(this, { gallery, tab: "gallery" });
      this.image = make("img", { alt: "" });
      const stage = make("div", { className: "viewer-stage" }, this.image);
      this.zoom = new ui.Zoom(stage, this.image, { step: (by) => this.go(by) });
      this.words = make("div", { className: "infotext" });
      this.facts = make("p", { className: "note" });
      this.star = makeButton("Favourite", "star", () => this.favour(), { id: "gallery_view_favourite", className: "tool icon-star" });
      const button = (name, icon, by) => makeButton(name, icon, () => this.go(by), { className: `tool icon-${icon}` });
      const close = makeButton("Close", "cancel", () => this.root.close(), { className: "tool small icon-cancel viewer-close" });
      this.root = make("dialog", { className: "viewer", onkeydown: (event) => this.step(event), onclick: (event) => { if (event.target === this.root) this.root.close(); }, attributes: { "aria-label": "Picture" } },
        make("div", { className: "viewer-picture" }, stage, this.zoom.bar(button("Previous picture", "previous", -1), button("Next picture", "next", 1))),
        make("div", { className: "viewer-side" }, close, this.facts, this.words,
          make("div", { className: "tools" }, makeButton("Download", "download", () => this.download(), { id: "gallery_download" }), makeButton("Copy infotext", "copy", () => this.copy(), { id: "gallery_copy" }), this.star,
            makeButton("Parameters to txt2img", "paste", () => this.paste(), { id: "gallery_paste" }), ...ui.sendButtons({ tab: "gallery", selected: () => this.sent() }))));
      document.querySelector(".gradio-container").append(this.root);
      this.root.querySelectorAll("[id^=gallery_send_to]").forEach((button) => button.addEventListener("click", () => this.root.close()));
    }

    open(picture) {
      this.picture = picture;
      this.image.src = ui.address(`gallery/${picture.id}`);
      this.image.alt = picture.infotext.split("\n")[0] || picture.name;
      this.words.textContent = picture.infotext || "This picture says nothing of how it was made.";
      this.facts.textContent = `${picture.path} · ${picture.width} × ${picture.height} · ${new Date(picture.time * 1000).toLocaleString()}`;
      this.star.classList.toggle("on", picture.favourite);
      this.star.setAttribute("aria-pressed", picture.favourite);
      if (!this.root.open) this.root.showModal();
      this.zoom.reset();
    }

    step(event) {
      if (event.target.closest("input, textarea") || !this.zoom.key(event)) return;
      event.preventDefault();
    }

    /** Open the picture so many places further. */
    go(by) {
      const { pictures } = this.gallery, place = pictures.findIndex((one) => one.id === this.picture.id) + by;
      if (pictures[place]) this.open(pictures[place]);
      if (place >= pictures.length - 5) this.gallery.more();
    }

    sent() { return { url: ui.address(`gallery/${this.picture.id}`), parameters: null }; }

    async favour() {
      const on = !this.picture.favourite;
      await this.gallery.favour([this.picture.id], on);
      this.open({ ...this.picture, favourite: on });
    }

    download() { make("a", { href: ui.address(`gallery/${this.picture.id}`), download: this.picture.name }).click(); }

    async copy() {
      await navigator.clipboard?.writeText(this.picture.infotext).catch(() => null);
      this.facts.textContent = "Infotext copied.";
    }

    /** As pasting it into the prompt and pressing the arrow. */
    async paste() {
      this.root.close();
      ui.showTab("txt2img");
      await ui.until(() => ui.tab("txt2img").overrides);
      ui.takeOverText("txt2img", this.picture.infotext);
    }
  }
}
