// The depth beside the picture, in the depth2img tab.
"use strict";
{
  const ui = window.webui;
  const { make } = ui;

  ui.readyForDepth = async (values) => {
    const [stored] = await ui.storeDrawn({ picture: "depth2img_image" }, ["picture"], values.slice(0, 1));
    return [stored, ...values.slice(1)];
  };

  ui.addDepthView = (element, props, watch) => {
    const root = element.querySelector(".depth-view");
    const figure = (source, caption) => make("figure", {}, make("img", { src: source, alt: caption }), make("figcaption", {}, caption));
    const show = () => {
      const { picture, depth, message } = props.value ?? {};
      const shown = depth ? [figure(picture, "Picture"), figure(depth, "Depth, white is near")] : message ? [make("p", { className: "notice", attributes: { role: "alert" } }, message)] : [];
      root.replaceChildren(...shown);
    };
    watch("value", show);
    show();
  };
}
