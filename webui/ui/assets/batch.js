// The uploaded pictures of a batch: each file is stored on the server as soon as it is chosen.
"use strict";
{
  const ui = window.webui;
  const { make, makeButton } = ui;

  ui.addBatchFiles = (element, props, server, watch) => new BatchFiles(element.querySelector(".batch-files"), props, server, watch);

  class BatchFiles {
    constructor(root, props, server, watch) {
      Object.assign(this, { props, server });
      this.input = make("input", { type: "file", multiple: true, accept: "image/*", onchange: () => this.take([...this.input.files]) });
      this.well = make("label", { className: "picture-well" }, this.input, make("span", { className: "hint" }, "Drop pictures here, or choose them"));
      this.notice = make("p", { className: "notice", hidden: true, attributes: { role: "alert" } });
      this.count = make("span", { attributes: { role: "status" } });
      this.clear = makeButton("Remove all", "cancel", () => this.keep([]));
      this.list = make("ul", { className: "batch-list" });
      root.replaceChildren(this.well, this.notice, make("div", { className: "tools" }, this.count, this.clear), this.list);
      root.addEventListener("dragover", (event) => event.preventDefault());
      root.addEventListener("drop", (event) => {
        event.preventDefault();
        event.stopPropagation();
        this.take([...(event.dataTransfer?.files ?? [])]);
      });
      watch("value", () => this.show());
      this.show();
    }

    get files() {
      return Array.isArray(this.props.value?.files) ? this.props.value.files : [];
    }

    async take(chosen) {
      this.input.value = "";
      const refused = [];
      for (const [place, file] of chosen.entries()) {
        this.count.textContent = `Storing ${place + 1} of ${chosen.length} …`;
        const upload = ui.upload(file);
        const stored = upload ? await this.server.store_file(upload).catch(() => ({ error: "the server does not answer; try again." })) : { error: ui.tooLarge(file) };
        if (stored.error) refused.push(`${file.name}: ${stored.error}`);
        else this.keep([...this.files, { name: file.name, ...stored }]);
      }
      this.notice.textContent = refused.join(" ");
      this.notice.hidden = !refused.length;
      this.show();
    }

    keep(files) {
      this.props.value = files.length ? { files } : null;
      this.show();
    }

    show() {
      const { files } = this;
      this.count.textContent = files.length ? `${files.length} ${files.length === 1 ? "picture" : "pictures"}` : "";
      this.clear.hidden = !files.length;
      this.list.replaceChildren(...files.map((file, place) => make("li", {},
        make("span", {}, String(file.name)), make("small", {}, `${file.width} × ${file.height}`),
        makeButton(`Remove ${file.name}`, "cancel", () => this.keep(files.filter((_, other) => other !== place)), { className: "tool small icon-cancel" }))));
    }
  }
}
