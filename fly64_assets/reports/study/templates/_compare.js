"use strict";
// Two pictures of one half, one over the other: divided by a slider, or blinked. The pictures are
// those of the page, so nothing is held twice; without a script they stand side by side.
const BLINK_MS = 700;
const calm = matchMedia("(prefers-reduced-motion: reduce)");

for (const box of document.querySelectorAll(".compare")) {
  const part = (name) => box.querySelector(name);
  const [component, left, right] = [".component", ".left", ".right"].map(part);
  const [stage, under, over] = [".stage", ".under", ".over"].map(part);
  const [slider, blink, shown] = ["input", ".blink", ".shown"].map(part);
  let timer = 0;

  const divide = (percent) => {
    stage.style.setProperty("--at", percent + "%");
    slider.setAttribute("aria-valuetext", percent + " % " + left.value);
  };
  const tell = (text) => { shown.textContent = text; };
  const both = () => "left of the line " + left.value + ", right of it " + right.value;
  const show = () => {
    const source = (name) => document.getElementById([box.dataset.prefix, component.value, name].join("-"));
    for (const [image, name] of [[over, left.value], [under, right.value]]) {
      image.src = source(name).src;
      image.alt = source(name).alt;
    }
    if (!timer) { divide(slider.value); tell(both()); }
  };
  const flip = () => {
    const first = stage.style.getPropertyValue("--at") !== "100%";
    divide(first ? 100 : 0);
    return first ? left.value : right.value;
  };
  const stop = () => {
    clearInterval(timer);
    timer = 0;
    blink.setAttribute("aria-pressed", "false");
  };

  blink.addEventListener("click", () => {
    if (calm.matches) { tell(flip()); return; }  // one picture a press, nothing moves by itself
    if (timer) { stop(); show(); return; }
    blink.setAttribute("aria-pressed", "true");
    tell("blinking " + left.value + " and " + right.value);
    timer = setInterval(flip, BLINK_MS);
  });
  slider.addEventListener("input", () => { stop(); divide(slider.value); tell(both()); });
  for (const choice of [component, left, right]) choice.addEventListener("change", show);
  // Dragging over the picture moves the line too; a vertical swipe still scrolls the page.
  const drag = (event) => {
    if (!event.buttons && event.type !== "pointerdown") return;
    const { left: begin, width } = stage.getBoundingClientRect();
    slider.value = Math.round(100 * (event.clientX - begin) / width);
    slider.dispatchEvent(new Event("input"));
  };
  stage.addEventListener("pointerdown", drag);
  stage.addEventListener("pointermove", drag);
  if (calm.matches) { blink.textContent = "swap"; blink.removeAttribute("aria-pressed"); }
  show();
  box.hidden = false;
}

// A link into a closed part opens it; paper shows all of them.
const closed = () => [...document.querySelectorAll("details:not([open])")];
let opened = [];
addEventListener("beforeprint", () => { opened = closed(); for (const item of opened) item.open = true; });
addEventListener("afterprint", () => { for (const item of opened) item.open = false; });
