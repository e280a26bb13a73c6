"use strict";
/* Every viewer finds its pictures in the JSON that stands beside it under ID-data. */
for (const root of document.querySelectorAll(".swipe")) {
  const data = JSON.parse(document.getElementById(root.id + "-data").textContent);
  const part = (name) => root.querySelector('[data-part="' + name + '"]');
  const [stage, range, under, over] = ["stage", "range", "under", "over"].map(part);
  const selects = { left: part("left"), right: part("right") };
  let order = data.orders[0].order;
  let at = 0;

  const fill = (select, words) => {
    select.replaceChildren(...words.map((word, k) => new Option(word, k)));
  };
  const move = (percent) => {
    const value = Math.min(100, Math.max(0, percent));
    range.value = value;
    stage.style.setProperty("--at", value + "%");
  };
  const show = () => {
    const pair = data.pictures[order[at]];
    part("picture").value = at;
    for (const [image, side] of [[over, "left"], [under, "right"]]) {
      const layer = Number(selects[side].value);
      image.src = pair.pictures[layer];
      image.alt = data.layers[layer] + " of " + pair.name;
      const note = pair.notes[layer] ? " · " + pair.notes[layer] : "";
      part("told-" + side).textContent = data.layers[layer] + note;
    }
    part("layers").replaceChildren(...data.layers.map((title, k) => {
      const figure = document.createElement("figure");
      const image = document.createElement("img");
      const caption = document.createElement("figcaption");
      image.src = pair.pictures[k];
      image.alt = title + " of " + pair.name;
      caption.textContent = title;
      figure.append(image, caption);
      return figure;
    }));
    for (const [k, thumb] of [...part("thumbs").children].entries()) {
      thumb.setAttribute("aria-pressed", k === at);
      if (k === at) {
        const row = part("thumbs");
        row.scrollLeft = thumb.offsetLeft - (row.clientWidth - thumb.clientWidth) / 2;
      }
    }
  };
  const turn = (to) => {
    at = (to + order.length) % order.length;
    show();
  };
  const sort = (which) => {
    order = data.orders[which].order;
    fill(part("picture"), order.map((k) => data.pictures[k].name));
    part("thumbs").replaceChildren(...order.map((k, place) => {
      const thumb = document.createElement("button");
      const image = document.createElement("img");
      thumb.type = "button";
      thumb.title = data.pictures[k].name;
      image.src = data.pictures[k].pictures[data.start[0]];
      image.alt = "show " + data.pictures[k].name;
      thumb.append(image);
      thumb.addEventListener("click", () => turn(place));
      return thumb;
    }));
    turn(0);
  };

  fill(selects.left, data.layers);
  fill(selects.right, data.layers);
  selects.left.value = data.start[0];
  selects.right.value = data.start[1];
  fill(part("order"), data.orders.map((one) => one.title));
  part("sorting").hidden = data.orders.length < 2;
  part("order").addEventListener("change", (event) => sort(Number(event.target.value)));
  part("picture").addEventListener("change", (event) => turn(Number(event.target.value)));
  part("back").addEventListener("click", () => turn(at - 1));
  part("forth").addEventListener("click", () => turn(at + 1));
  selects.left.addEventListener("change", show);
  selects.right.addEventListener("change", show);
  range.addEventListener("input", () => move(Number(range.value)));
  const follow = (event) => {
    const box = stage.getBoundingClientRect();
    move(100 * (event.clientX - box.left) / box.width);
  };
  stage.addEventListener("pointerdown", (event) => {
    stage.setPointerCapture(event.pointerId);
    follow(event);
    range.focus({ preventScroll: true });
    event.preventDefault();
  });
  stage.addEventListener("pointermove", (event) => {
    if (stage.hasPointerCapture(event.pointerId)) follow(event);
  });
  /* Left and right on the slider move the edge; up and down leaf through the pictures. */
  range.addEventListener("keydown", (event) => {
    const way = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (way) {
      turn(at + way);
      event.preventDefault();
    }
  });
  /* Small pictures are enlarged three times at most. */
  under.addEventListener("load", () => {
    part("main").style.maxWidth = Math.max(300, 3 * under.naturalWidth) + "px";
  });
  move(50);
  sort(0);
}
